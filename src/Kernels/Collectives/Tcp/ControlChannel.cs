using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// The connection between two ranks that carries signs of life, farewells and failures, apart from the data, so that a failure overtakes
/// what is on its way. Read by the mesh's thread.
/// </summary>
internal sealed class ControlChannel(Socket socket)
{
    private const byte Beat = 1;
    private const byte Bye = 2;
    private const byte Failed = 3;
    private const int FailedBytes = 8;
    private const int MaxReasonBytes = 1000;

    private readonly Lock _gate = new();
    private readonly byte[] _received = new byte[4096];
    private int _count;

    public Socket Socket { get; } = socket;

    /// <summary>When the peer was last heard of, in <see cref="Environment.TickCount64"/>; 0: never yet.</summary>
    public long LastHeard { get; set; }

    /// <summary>When the peer said that it leaves; 0: not.</summary>
    public long LeftAt { get; private set; }

    /// <summary>Set once the peer said why it is gone, or is cut off.</summary>
    public ManualResetEventSlim Ended { get; } = new();

    public void SendBeat() => Send([Beat]);

    public void SendBye() => Send([Bye]);

    public void SendFailure(GroupFailure.Record failure)
    {
        byte[] reason = Encoding.UTF8.GetBytes(failure.Reason);
        int length = Math.Min(reason.Length, MaxReasonBytes);
        var message = new byte[FailedBytes + length];
        message[0] = Failed;
        message[1] = (byte)failure.Cause;
        BinaryPrimitives.WriteInt32LittleEndian(message.AsSpan(2), failure.Peer);
        BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(6), (ushort)length);
        reason.AsSpan(0, length).CopyTo(message.AsSpan(FailedBytes));
        Send(message);
    }

    /// <summary>Reads what is there. A failure that the peer tells, or null; throws when the connection is cut.</summary>
    public GroupFailure.Record? Read()
    {
        while (true)
        {
            int read = Socket.Receive(_received.AsSpan(_count), SocketFlags.None, out SocketError error);
            if (error is SocketError.WouldBlock or SocketError.TryAgain)
                return null;
            if (error != SocketError.Success || read == 0)
                throw new SocketException((int)(error == SocketError.Success ? SocketError.ConnectionReset : error));
            _count += read;
            LastHeard = Math.Max(1, Environment.TickCount64);
            if (Parse() is { } failure)
                return failure;
        }
    }

    private GroupFailure.Record? Parse()
    {
        int at = 0;
        while (at < _count && _received[at] != Failed)
        {
            if (_received[at++] == Bye)
                LeftAt = Math.Max(1, Environment.TickCount64);
        }

        _received.AsSpan(at, _count - at).CopyTo(_received);
        _count -= at;
        if (_count < FailedBytes || _count < FailedBytes + BinaryPrimitives.ReadUInt16LittleEndian(_received.AsSpan(6)))
            return null;
        int length = BinaryPrimitives.ReadUInt16LittleEndian(_received.AsSpan(6));
        string reason = Encoding.UTF8.GetString(_received, FailedBytes, Math.Min(length, MaxReasonBytes));
        return new GroupFailure.Record((ProcessGroupFault)_received[1], BinaryPrimitives.ReadInt32LittleEndian(_received.AsSpan(2)), reason, null);
    }

    // These messages are tiny: when the socket takes no more, the peer reads nothing and is about to be lost.
    private void Send(ReadOnlySpan<byte> message)
    {
        lock (_gate)
        {
            try
            {
                Socket.Send(message, SocketFlags.None, out _);
            }
            catch (ObjectDisposedException)
            {
                // Closed on this side.
            }
        }
    }
}
