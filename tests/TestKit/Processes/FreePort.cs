using System.Net;
using System.Net.Sockets;

namespace Cluster.TestKit.Processes;

/// <summary>
/// Ports of this machine that nobody listens on. They lie below the range that the operating system gives to outgoing
/// connections, so that none of those takes a port between its choice and its use.
/// </summary>
public static class FreePort
{
    private const int First = 18000;
    private const int Last = 31999;

    private static int _last = First + (Environment.ProcessId * 127 % (Last - First));

    /// <summary>A port that was free a moment ago; each call gives another one.</summary>
    public static int Next()
    {
        while (true)
        {
            int port = First + (Interlocked.Increment(ref _last) % (Last - First + 1));
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // In use: the next one.
            }
        }
    }
}
