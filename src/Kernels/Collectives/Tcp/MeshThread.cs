using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>One thread per process for all control connections: no pool's load delays a sign of life.</summary>
internal sealed class MeshThread : IDisposable
{
    private const long CloseAfterMilliseconds = 1000;

    private readonly Lock _gate = new();
    private readonly List<TcpCore> _cores = [];
    private readonly List<(TcpCore Core, long At)> _closing = [];
    private readonly long _timeout;
    private readonly Action<long> _expire;
    private readonly Socket _wakeIn;
    private readonly Socket _wakeOut;
    private readonly Thread _thread;
    private readonly byte[] _bytes = new byte[256];
    private volatile bool _stopped;

    public MeshThread(TimeSpan heartbeatTimeout, Action<long> expire)
    {
        _timeout = (long)heartbeatTimeout.TotalMilliseconds;
        _expire = expire;
        (_wakeIn, _wakeOut) = SocketPair.Create();
        _wakeIn.Blocking = _wakeOut.Blocking = false;
        _thread = new Thread(Run) { IsBackground = true, Name = "mesh", Priority = ThreadPriority.AboveNormal };
        _thread.Start();
    }

    /// <summary>The ranks served.</summary>
    public TcpCore[] Cores
    {
        get
        {
            lock (_gate)
                return [.. _cores];
        }
    }

    public void Add(TcpCore core)
    {
        lock (_gate)
            _cores.Add(core);
        Wake();
    }

    /// <summary>Closes a rank's connections a little later: a close with unread bytes would take back what the peer has not read yet.</summary>
    public void Retire(TcpCore core)
    {
        lock (_gate)
        {
            if (_cores.Remove(core))
                _closing.Add((core, Environment.TickCount64 + CloseAfterMilliseconds));
        }
    }

    /// <summary>Makes the thread look at everything.</summary>
    public void Wake()
    {
        try
        {
            // When the pair is full the thread is about to run anyway.
            _wakeOut.Send(_bytes.AsSpan(0, 1), SocketFlags.None, out _);
        }
        catch (ObjectDisposedException)
        {
            // The mesh is gone.
        }
    }

    public void Dispose()
    {
        _stopped = true;
        Wake();
        _thread.Join();
        foreach ((TcpCore core, _) in _closing)
            core.Close();
        _wakeIn.Dispose();
        _wakeOut.Dispose();
    }

    private void Run()
    {
        var reading = new List<Socket>();
        var writing = new List<Socket>();
        long interval = Math.Max(1, _timeout / 4), nextBeat = Environment.TickCount64, lastBeat = nextBeat;
        while (!_stopped)
        {
            TcpCore[] cores = Cores;
            Await(cores, reading, writing, Math.Clamp(nextBeat - Environment.TickCount64, 0, interval));
            foreach (TcpCore core in cores)
            {
                core.ReadControls();
                core.PushKept();
            }

            long now = Environment.TickCount64;
            if (now < nextBeat)
                continue;
            foreach (TcpCore core in cores)
                core.Beat(now, wasFrozen: now - lastBeat > _timeout);
            _expire(now);
            CloseRetired(now);
            lastBeat = now;
            nextBeat = now + interval;
        }
    }

    private void Await(TcpCore[] cores, List<Socket> reading, List<Socket> writing, long milliseconds)
    {
        reading.Clear();
        writing.Clear();
        reading.Add(_wakeIn);
        foreach (TcpCore core in cores)
        {
            core.AddControls(reading);
            core.AddKept(writing);
        }

        try
        {
            Socket.Select(reading, writing, null, (int)milliseconds * 1000);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // A connection was closed meanwhile: reading it tells which.
        }

        while (_wakeIn.Receive(_bytes, SocketFlags.None, out SocketError error) == _bytes.Length && error == SocketError.Success)
        {
        }
    }

    private void CloseRetired(long now)
    {
        lock (_gate)
        {
            foreach ((TcpCore core, long at) in _closing)
            {
                if (now >= at)
                    core.Close();
            }

            _closing.RemoveAll(item => now >= item.At);
        }
    }
}
