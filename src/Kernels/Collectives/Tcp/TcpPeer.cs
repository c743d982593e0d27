using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>Another rank, as a rank sees it: shared by a group and its subgroups.</summary>
internal sealed class TcpPeer
{
    private readonly Socket[] _data;

    /// <param name="rank">In the outermost group.</param>
    /// <param name="sockets">The control connection, then the data connections; none blocks.</param>
    /// <param name="options">Limits.</param>
    public TcpPeer(int rank, Socket[] sockets, TcpMeshOptions options)
    {
        Rank = rank;
        _data = sockets[1..];
        var stripes = new Stripes(_data.Length, options.StripeBytes);
        Control = new ControlChannel(sockets[0]);
        Sender = new FrameSender(_data, stripes, options.Group.SendBufferBytes);
        Receiver = new FrameReceiver(_data, stripes, options.ReceiveBufferBytes);
    }

    /// <summary>In the outermost group.</summary>
    public int Rank { get; }

    public ControlChannel Control { get; }

    public FrameSender Sender { get; }

    public FrameReceiver Receiver { get; }

    /// <summary>Whether the control connection still stands.</summary>
    public bool IsConnected { get; set; } = true;

    /// <summary>Ends both directions of the data connections: wakes this rank's thread, tells the peer. What the peer has not read yet it still can.</summary>
    public void ShutDownData()
    {
        foreach (Socket socket in _data)
        {
            try
            {
                socket.Shutdown(SocketShutdown.Both);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Cut already.
            }
        }
    }

    public void Close()
    {
        Control.Socket.Dispose();
        foreach (Socket socket in _data)
            socket.Dispose();
    }
}
