using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Cluster.Kernels.Collectives;

/// <summary>Connects a joining rank to every rank below it; the ranks above dial this one.</summary>
internal static class MeshDialer
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromMilliseconds(20);

    public static void Start(TcpJoin join, TcpMeshOptions options, CancellationToken stop)
    {
        if (join.Spec.Members.Count == 1)
            join.CompleteAlone();
        for (int peer = 0; peer < join.Rank; peer++)
        {
            int to = peer;
            new Thread(() => Dial(join, to, options, stop)) { IsBackground = true, Name = $"dial rank {to}" }.Start();
        }
    }

    private static void Dial(TcpJoin join, int peer, TcpMeshOptions options, CancellationToken stop)
    {
        for (int connection = 0; connection < join.Connections;)
        {
            try
            {
                Socket socket = DialOnce(join, peer, connection, options, stop);
                if (!join.TryAdd(peer, connection, socket))
                {
                    socket.Dispose();
                    return;
                }

                connection++;
            }
            catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException)
            {
                // Not there yet, or too busy to answer: until the join's own time is up.
                if (stop.WaitHandle.WaitOne(RetryAfter))
                    return;
            }
            catch (Exception e)
            {
                join.Fail(e);
                return;
            }
        }
    }

    private static Socket DialOnce(TcpJoin join, int peer, int connection, TcpMeshOptions options, CancellationToken stop)
    {
        EndPoint endPoint = join.Spec.Members[peer];
        Socket socket = endPoint is IPEndPoint address ? new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) : new Socket(SocketType.Stream, ProtocolType.Tcp);
        bool connected = false;
        try
        {
            using CancellationTokenRegistration onStop = stop.Register(socket.Dispose);
            socket.NoDelay = true;
            socket.Connect(endPoint);
            var hello = new Hello(
                join.Spec.Name, join.Spec.Epoch, join.Rank, peer, join.Spec.Members.Count, connection, join.Connections, RandomNumberGenerator.GetBytes(Hello.NonceBytes));
            SslStream? tls = options.Certificate is null ? null : Encrypt(socket);
            Stream stream = tls ?? (Stream)new NetworkStream(socket, ownsSocket: false);
            Handshake.Dial(stream, hello, join.Spec.Secret, Binding(tls?.RemoteCertificate));
            Socket plain = tls is null ? socket : TlsBridge.Start(tls, socket);
            plain.Blocking = false;
            connected = true;
            return plain;
        }
        finally
        {
            if (!connected)
                socket.Dispose();
        }
    }

    /// <summary>What the proofs bind to the TLS connection.</summary>
    public static byte[] Binding(X509Certificate? certificate) => certificate?.GetCertHash(HashAlgorithmName.SHA256) ?? [];

    // Any certificate will do here: the handshake proves that its owner knows the group's secret.
    private static SslStream Encrypt(Socket socket)
    {
        var tls = new SslStream(new NetworkStream(socket, ownsSocket: false), leaveInnerStreamOpen: false, (_, certificate, _, _) => certificate is not null);
        tls.AuthenticateAsClient(new SslClientAuthenticationOptions { TargetHost = "cluster" });
        return tls;
    }
}
