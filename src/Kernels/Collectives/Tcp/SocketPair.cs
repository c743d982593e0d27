using System.Net;
using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>Two connected sockets of this process.</summary>
internal static class SocketPair
{
    public static (Socket One, Socket Other) Create()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(4);
        var one = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            one.Connect(listener.LocalEndPoint!);
            while (true)
            {
                // Another process may connect to the port first: only our own socket counts.
                Socket other = listener.Accept();
                if (Equals(other.RemoteEndPoint, one.LocalEndPoint))
                {
                    other.NoDelay = true;
                    return (one, other);
                }

                other.Dispose();
            }
        }
        catch
        {
            one.Dispose();
            throw;
        }
    }
}
