using System.Net;
using System.Net.Sockets;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>A listener before another one: real TCP on both sides, and a hand on what passes. Delivers in small pieces, freezes, cuts.</summary>
internal sealed class FaultyProxy : IDisposable
{
    private readonly IPEndPoint _target;
    private readonly int _pieceBytes;
    private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly List<(Socket Near, Socket Far)> _connections = [];
    private readonly ManualResetEventSlim _flowing = new(true);
    private long _cutAfter = long.MaxValue;
    private long _passed;

    public FaultyProxy(IPEndPoint target, int pieceBytes)
    {
        _target = target;
        _pieceBytes = pieceBytes;
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen(100);
        EndPoint = (IPEndPoint)_listener.LocalEndPoint!;
        new Thread(AcceptAll) { IsBackground = true }.Start();
    }

    public IPEndPoint EndPoint { get; }

    /// <summary>Nothing passes any more, and no connection ends: a frozen process.</summary>
    public void Freeze() => _flowing.Reset();

    /// <summary>What was frozen passes.</summary>
    public void Thaw() => _flowing.Set();

    /// <summary>All connections are cut once so many more bytes have passed.</summary>
    public void CutAfter(long bytes) => Volatile.Write(ref _cutAfter, Volatile.Read(ref _passed) + bytes);

    /// <summary>Cuts the n-th connection made (0 is the first pair's control connection).</summary>
    public void Cut(int connection)
    {
        lock (_connections)
            Close(_connections[connection]);
    }

    public void CutAll()
    {
        lock (_connections)
            _connections.ForEach(Close);
    }

    public void Dispose()
    {
        _listener.Dispose();
        CutAll();
        _flowing.Set();
    }

    private void AcceptAll()
    {
        try
        {
            while (true)
            {
                Socket near = _listener.Accept();
                var far = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                near.NoDelay = true;
                far.Connect(_target);
                lock (_connections)
                    _connections.Add((near, far));
                new Thread(() => Pass(near, far)) { IsBackground = true }.Start();
                new Thread(() => Pass(far, near)) { IsBackground = true }.Start();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Disposed, or nobody there.
        }
    }

    private void Pass(Socket from, Socket to)
    {
        var buffer = new byte[64 << 10];
        try
        {
            int read;
            while ((read = from.Receive(buffer)) > 0)
            {
                for (int start = 0, count; start < read; start += count)
                {
                    count = Math.Min(_pieceBytes, read - start);
                    _flowing.Wait();
                    to.Send(buffer, start, count, SocketFlags.None);
                    if (_pieceBytes < int.MaxValue)
                        Thread.Yield();
                    if (Interlocked.Add(ref _passed, count) >= Volatile.Read(ref _cutAfter))
                        CutAll();
                }
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            Close((from, to));
        }
    }

    private static void Close((Socket Near, Socket Far) connection)
    {
        // As a killed process ends: reset, not closed in good order.
        connection.Near.Close(0);
        connection.Far.Close(0);
    }
}
