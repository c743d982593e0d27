using System.Net;
using System.Net.Security;
using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// Accepts connections of ranks elsewhere. A hello for a rank that has not joined yet, or has only joined an older epoch, is held until it
/// joins or the time is up; one of an older epoch, or for another group than is there, is refused at once.
/// </summary>
internal sealed class MeshListener : IDisposable
{
    private const int MaxHandshakes = 32;
    private const int MaxHeld = 1024;
    private static readonly TimeSpan HelloTimeout = TimeSpan.FromSeconds(5);

    private readonly TcpMeshOptions _options;
    private readonly Socket _socket;
    private readonly Lock _gate = new();
    private readonly Dictionary<JoinKey, long> _epochs = [];
    private readonly List<TcpJoin> _joins = [];
    private readonly List<Held> _held = [];
    private int _handshakes;

    public MeshListener(IPEndPoint endPoint, TcpMeshOptions options)
    {
        _options = options;
        _socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            _socket.Bind(endPoint);
            _socket.Listen(512);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }

        EndPoint = (IPEndPoint)_socket.LocalEndPoint!;
        new Thread(AcceptAll) { IsBackground = true, Name = $"mesh listener {EndPoint.Port}" }.Start();
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>A rank of this process begins to join.</summary>
    public void Register(TcpJoin join)
    {
        var key = new JoinKey(join.Spec.Name, join.Rank);
        Held[] ready;
        lock (_gate)
        {
            if (_epochs.TryGetValue(key, out long epoch) && epoch >= join.Spec.Epoch)
                throw new ProcessGroupException(join.Rank, join.Rank, CollectiveOp.None, -1, ProcessGroupFault.WrongEpoch, $"rank {join.Rank} of group '{join.Spec.Name}' is at epoch {epoch} here, asked for was {join.Spec.Epoch}");
            _epochs[key] = join.Spec.Epoch;
            _joins.Add(join);
            ready = [.. _held.Where(held => held.Key == key)];
            _held.RemoveAll(ready.Contains);
        }

        foreach (Held held in ready)
            ThreadPool.UnsafeQueueUserWorkItem(_ => Guard(held.Socket, () => Answer(held)), null);
    }

    /// <summary>The rank is connected.</summary>
    public void Complete(TcpJoin join)
    {
        lock (_gate)
            _joins.Remove(join);
    }

    /// <summary>The rank has gone.</summary>
    public void Forget(TcpGroupSpec spec, int rank)
    {
        lock (_gate)
        {
            _joins.RemoveAll(join => join.Rank == rank && join.Spec.Name == spec.Name && join.Spec.Epoch == spec.Epoch);
            var key = new JoinKey(spec.Name, rank);
            if (_epochs.TryGetValue(key, out long epoch) && epoch == spec.Epoch)
                _epochs.Remove(key);
        }
    }

    /// <summary>Refuses whoever has waited long enough.</summary>
    public void Expire(long now)
    {
        (Held Held, long? Epoch)[] late;
        lock (_gate)
        {
            late = [.. _held.Where(held => now >= held.Deadline).Select(held => (held, _epochs.TryGetValue(held.Key, out long epoch) ? epoch : (long?)null))];
            _held.RemoveAll(held => now >= held.Deadline);
        }

        foreach ((Held held, long? epoch) in late)
            Guard(held.Socket, () => Refuse(held, epoch is null ? ProcessGroupFault.Unreachable : ProcessGroupFault.WrongEpoch, epoch ?? 0));
    }

    public void Dispose()
    {
        _socket.Dispose();
        lock (_gate)
        {
            foreach (Held held in _held)
                held.Socket.Dispose();
            _held.Clear();
        }
    }

    private void AcceptAll()
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = _socket.Accept();
            }
            catch (Exception e) when (e is ObjectDisposedException || e is SocketException { SocketErrorCode: SocketError.OperationAborted or SocketError.Interrupted or SocketError.InvalidArgument or SocketError.NotSocket })
            {
                return;
            }
            catch (SocketException)
            {
                continue;       // that one connection broke before it was accepted
            }

            // The others dial again: a crowd of mute connections holds no threads.
            if (Interlocked.Increment(ref _handshakes) > MaxHandshakes)
            {
                Interlocked.Decrement(ref _handshakes);
                socket.Dispose();
                continue;
            }

            ThreadPool.UnsafeQueueUserWorkItem(
                _ =>
                {
                    Guard(socket, () => Hear(socket));
                    Interlocked.Decrement(ref _handshakes);
                },
                null);
        }
    }

    private void Hear(Socket socket)
    {
        socket.NoDelay = true;
        socket.ReceiveTimeout = socket.SendTimeout = (int)HelloTimeout.TotalMilliseconds;
        Stream stream = new NetworkStream(socket, ownsSocket: false);
        if (_options.Certificate is { } certificate)
        {
            var tls = new SslStream(stream);
            tls.AuthenticateAsServer(new SslServerAuthenticationOptions { ServerCertificate = certificate });
            stream = tls;
        }

        if (Hello.Read(stream) is not var (hello, bytes))
        {
            socket.Dispose();
            return;
        }

        Answer(new Held(new JoinKey(hello.Group, hello.To), hello, bytes, stream, socket, Environment.TickCount64 + (long)_options.JoinTimeout.TotalMilliseconds));
    }

    private void Answer(Held held)
    {
        Hello hello = held.Hello;
        TcpJoin? join;
        long epoch;
        lock (_gate)
        {
            bool known = _epochs.TryGetValue(held.Key, out epoch);
            join = _joins.Find(join => join.Rank == hello.To && join.Spec.Name == hello.Group && join.Spec.Epoch == hello.Epoch);
            if (join is null && (!known || epoch < hello.Epoch) && _held.Count < MaxHeld)
            {
                _held.Add(held);
                return;
            }
        }

        if (join is null)
            Refuse(held, epoch != hello.Epoch ? ProcessGroupFault.WrongEpoch : ProcessGroupFault.Unreachable, epoch);
        else if (hello.Size != join.Spec.Members.Count || hello.Connections != join.Connections || hello.From <= hello.To || hello.From >= hello.Size || hello.Connection < 0 || hello.Connection >= hello.Connections)
            Refuse(held, ProcessGroupFault.Mismatch, epoch);
        else if (Handshake.Accept(held.Stream, hello, held.Bytes, join.Spec.Secret, MeshDialer.Binding(_options.Certificate)))
            Admit(held, join);
        else
            held.Socket.Dispose();
    }

    private static void Admit(Held held, TcpJoin join)
    {
        held.Socket.ReceiveTimeout = held.Socket.SendTimeout = 0;
        Socket plain = held.Stream is SslStream tls ? TlsBridge.Start(tls, held.Socket) : held.Socket;
        plain.Blocking = false;
        if (!join.TryAdd(held.Hello.From, held.Hello.Connection, plain))
            plain.Dispose();
    }

    private static void Refuse(Held held, ProcessGroupFault cause, long epoch)
    {
        Handshake.Refuse(held.Stream, cause, epoch);
        held.Socket.Shutdown(SocketShutdown.Send);
        held.Socket.Dispose();
    }

    // Whatever a stranger sends ends his connection and nothing else.
    private static void Guard(Socket socket, Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException or InvalidOperationException or System.Security.Authentication.AuthenticationException)
        {
            socket.Dispose();
        }
    }

    private sealed record Held(JoinKey Key, Hello Hello, byte[] Bytes, Stream Stream, Socket Socket, long Deadline);
}
