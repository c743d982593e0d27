using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// Frames from one peer, read by the rank's thread alone and only while it waits for one: what it does not read stays in the sockets, and
/// the peer waits. A payload goes straight to its place; frames that come before their time are stashed, up to a bound.
/// </summary>
internal sealed unsafe class FrameReceiver(Socket[] connections, Stripes stripes, long capacity)
{
    // A small frame comes with one call, header and all.
    private const int StageBytes = 16 << 10;

    private readonly byte[] _stage = GC.AllocateArray<byte>(FrameHeader.Bytes + StageBytes, pinned: true);
    private readonly long[] _filled = new long[connections.Length];
    private readonly List<(FrameHeader Header, byte[] Payload)> _stash = [];
    private int _stageStart;
    private int _stageEnd;
    private long _stashed;
    private FrameHeader _header;
    private bool _inPayload;
    private bool _hasHeard;
    private byte* _target;
    private byte[]? _payload;
    private FrameHeader _expected;
    private byte* _destination;

    /// <summary>Whether any frame has come: the peer has joined.</summary>
    public bool HasHeard => Volatile.Read(ref _hasHeard);

    /// <summary>Whether the expected frame is there.</summary>
    public bool IsComplete { get; private set; } = true;

    /// <summary>A frame that stands where the expected one should: another program runs on the peer.</summary>
    public FrameHeader? Intruder { get; private set; }

    /// <summary>Waits for a frame: the next of a channel's exchanges, or the next message of a tag.</summary>
    public void Expect(in FrameHeader expected, byte* destination)
    {
        _expected = expected;
        _destination = destination;
        Intruder = null;
        IsComplete = false;
        for (int i = 0; i < _stash.Count && !IsComplete && Intruder is null; i++)
        {
            (FrameHeader header, byte[] payload) = _stash[i];
            if (!IsWanted(header))
                continue;
            payload.AsSpan(0, (int)header.PayloadBytes).CopyTo(new Span<byte>(destination, (int)header.PayloadBytes));
            _stash.RemoveAt(i);
            _stashed -= header.PayloadBytes;
            IsComplete = true;
        }
    }

    /// <summary>Reads what is there; whether anything moved.</summary>
    public bool Pump()
    {
        bool moved = false;
        while (!IsComplete && Intruder is null)
        {
            if (!_inPayload && !(FillHeader(ref moved) && StartPayload()))
                return moved;
            if (!FillPayload(ref moved))
                return moved;
            FinishFrame();
        }

        return moved;
    }

    /// <summary>Adds the sockets that have to bring more before anything moves.</summary>
    public void AddWaiting(List<Socket> sockets)
    {
        if (!_inPayload)
        {
            sockets.Add(connections[0]);
            return;
        }

        for (int i = 0; i < stripes.Count(_header.PayloadBytes); i++)
        {
            if (_filled[i] < Length(i))
                sockets.Add(connections[i]);
        }
    }

    private bool FillHeader(ref bool moved)
    {
        while (_stageEnd - _stageStart < FrameHeader.Bytes)
        {
            if (_stageStart > 0)
            {
                _stage.AsSpan(_stageStart, _stageEnd - _stageStart).CopyTo(_stage);
                _stageEnd -= _stageStart;
                _stageStart = 0;
            }

            int read = Read(0, _stage.AsSpan(_stageEnd));
            if (read == 0)
                return false;
            _stageEnd += read;
            moved = true;
        }

        _header = MemoryMarshal.Read<FrameHeader>(_stage.AsSpan(_stageStart));
        if (_header.Magic != FrameHeader.Mark || _header.PayloadBytes < 0 || _header.CallBytes < 0)
            throw new InvalidDataException($"a frame begins with {_header.Magic:x4} and has {_header.PayloadBytes} bytes");
        _stageStart += FrameHeader.Bytes;
        Volatile.Write(ref _hasHeard, true);
        return true;
    }

    // Where the payload goes. False: this frame shows that the peer runs another program.
    private bool StartPayload()
    {
        _payload = null;
        bool wanted = IsWanted(_header);
        if (Intruder is not null)
            return false;
        if (wanted)
            _target = _destination;
        else
        {
            if (_stashed + _header.PayloadBytes > capacity)
                throw new InvalidDataException($"more than {capacity} bytes came before anybody asked for them: {_stashed} and {_header.PayloadBytes}");
            _payload = GC.AllocateUninitializedArray<byte>((int)_header.PayloadBytes, pinned: true);
            _target = (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(_payload, 0);
        }

        Array.Clear(_filled);
        int staged = (int)Math.Min(_stageEnd - _stageStart, Length(0));
        _stage.AsSpan(_stageStart, staged).CopyTo(new Span<byte>(_target, staged));
        _stageStart += staged;
        _filled[0] = staged;
        _inPayload = true;
        return true;
    }

    private bool FillPayload(ref bool moved)
    {
        bool full = true;
        for (int i = 0; i < stripes.Count(_header.PayloadBytes); i++)
        {
            long length = Length(i), start = stripes.Start(_header.PayloadBytes, i);
            while (_filled[i] < length)
            {
                int read = Read(i, new Span<byte>(_target + start + _filled[i], (int)Math.Min(length - _filled[i], 1 << 30)));
                if (read == 0)
                {
                    full = false;
                    break;
                }

                _filled[i] += read;
                moved = true;
            }
        }

        return full;
    }

    private void FinishFrame()
    {
        _inPayload = false;
        if (_payload is null)
        {
            IsComplete = true;
            return;
        }

        _stash.Add((_header, _payload));
        _stashed += _header.PayloadBytes;
        _payload = null;
    }

    private bool IsWanted(in FrameHeader header)
    {
        if (header.Channel != _expected.Channel)
            return false;
        bool message = header.Operation == CollectiveOp.Send, wantsMessage = _expected.Operation == CollectiveOp.Send;
        if (message && (!wantsMessage || header.Tag != _expected.Tag))
            return false;
        // From here on it is this frame or none: exchanges come in order, and a peer inside one sends no more messages.
        bool same = message == wantsMessage && header.Operation == _expected.Operation && header.Tag == _expected.Tag && header.Peer == _expected.Peer
            && header.Sequence == _expected.Sequence && header.PayloadBytes == _expected.PayloadBytes
            && (header.CallBytes == _expected.CallBytes || header.Operation == CollectiveOp.AllToAll);
        if (!same)
            Intruder = header;
        return same;
    }

    private long Length(int index) => stripes.Start(_header.PayloadBytes, index + 1) - stripes.Start(_header.PayloadBytes, index);

    // 0: nothing there yet.
    private int Read(int index, Span<byte> into)
    {
        int read = connections[index].Receive(into, SocketFlags.None, out SocketError error);
        if (error is SocketError.WouldBlock or SocketError.TryAgain)
            return 0;
        if (error != SocketError.Success)
            throw new SocketException((int)error);
        return read > 0 ? read : throw new SocketException((int)SocketError.ConnectionReset);
    }
}
