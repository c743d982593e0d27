using System.Net.Security;
using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// Carries a TLS connection to a plain socket of this process, so that everything else sees sockets only. Two threads and one copy each way
/// per connection: small beside the encryption.
/// </summary>
internal static class TlsBridge
{
    private const int BufferBytes = 64 << 10;

    /// <summary>Takes the connection over; the socket to use instead of it.</summary>
    public static Socket Start(SslStream tls, Socket socket)
    {
        (Socket inner, Socket outer) = SocketPair.Create();
        var plain = new NetworkStream(outer, ownsSocket: true);
        int ends = 2;
        void Run(Stream from, Stream to, Action end)
        {
            Pump(from, to);
            end();
            if (Interlocked.Decrement(ref ends) != 0)
                return;
            tls.Dispose();
            socket.Dispose();
            plain.Dispose();
        }

        Start("tls in", () => Run(tls, plain, () => Shutdown(outer)));
        Start("tls out", () => Run(plain, tls, () => Shutdown(socket)));
        return inner;
    }

    private static void Start(string name, Action run) => new Thread(() => run()) { IsBackground = true, Name = name }.Start();

    private static void Pump(Stream from, Stream to)
    {
        byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferBytes);
        try
        {
            int read;
            while ((read = from.Read(buffer)) > 0)
                to.Write(buffer, 0, read);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // The connection is over; the other direction learns it from the shutdown.
        }
    }

    // Everything written so far still arrives.
    private static void Shutdown(Socket socket)
    {
        try
        {
            socket.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Cut already.
        }
    }
}
