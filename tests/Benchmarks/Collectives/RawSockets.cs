using System.Net;
using System.Net.Sockets;

namespace Cluster.Benchmarks.Collectives;

/// <summary>Two connected loopback sockets, a thread on each, blocking calls and nothing else: what the medium itself can do.</summary>
internal sealed class RawSockets : IDisposable
{
    private readonly Socket _near;
    private readonly Socket _far;
    private readonly byte[] _nearBytes;
    private readonly byte[] _farBytes;
    private readonly Thread _second;
    private readonly SemaphoreSlim _start = new(0);
    private readonly SemaphoreSlim _end = new(0);
    private Action? _work;

    public RawSockets(int maxBytes)
    {
        _nearBytes = new byte[maxBytes];
        _farBytes = new byte[maxBytes];
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        _near = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        _near.Connect(listener.LocalEndPoint!);
        _far = listener.Accept();
        _far.NoDelay = true;
        _second = new Thread(Second) { IsBackground = true, Name = "raw" };
        _second.Start();
    }

    /// <summary>Messages there and back.</summary>
    public void PingPong(int bytes) => Run(
        () => Batch(() => { Send(_near, _nearBytes, bytes); Receive(_near, _nearBytes, bytes); }),
        () => Batch(() => { Receive(_far, _farBytes, bytes); Send(_far, _farBytes, bytes); }));

    /// <summary>Bytes one way and then the other, as often as said: an exchange, with no sums and no second thread per side.</summary>
    public void Exchange(int bytes, int times) => Run(
        () => Batch(() =>
        {
            for (int i = 0; i < times; i++)
                Send(_near, _nearBytes, bytes);
            for (int i = 0; i < times; i++)
                Receive(_near, _nearBytes, bytes);
        }),
        () => Batch(() =>
        {
            for (int i = 0; i < times; i++)
                Receive(_far, _farBytes, bytes);
            for (int i = 0; i < times; i++)
                Send(_far, _farBytes, bytes);
        }));

    public void Dispose()
    {
        _work = null;
        _start.Release();
        _second.Join();
        _near.Dispose();
        _far.Dispose();
    }

    private static void Batch(Action one)
    {
        for (int i = 0; i < RankPair.Batch; i++)
            one();
    }

    private void Run(Action near, Action far)
    {
        _work = far;
        _start.Release();
        near();
        _end.Wait();
    }

    private void Second()
    {
        while (true)
        {
            _start.Wait();
            if (_work is not { } work)
                return;
            work();
            _end.Release();
        }
    }

    private static void Send(Socket socket, byte[] data, int bytes)
    {
        for (int sent = 0; sent < bytes;)
            sent += socket.Send(data.AsSpan(sent, bytes - sent));
    }

    private static void Receive(Socket socket, byte[] data, int bytes)
    {
        for (int read = 0; read < bytes;)
            read += socket.Receive(data.AsSpan(read, bytes - read));
    }
}
