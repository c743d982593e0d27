using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// The threads of one CPU device. The calling thread works too. A region is a number of independent chunks that threads
/// claim one by one: who computes a chunk never changes its bits, and a thread that wakes late (or whose core is
/// busy with something else) is not waited for. Workers spin for a short time after a region and then park, so that an
/// idle device costs nothing. No allocation per region.
/// </summary>
internal sealed unsafe class CpuThreadPool : IDisposable
{
    private const int Idle = 0;
    private const int Offered = 1;
    private const int Running = 2;
    private const int Parked = 3;
    private const int Stopped = 4;
    private const int LineInts = 32;
    private const long SmallWork = 32 * 1024;

    // Between the layers of a decode step the next region comes within a few microseconds; waking a parked thread takes about 20.
    private static readonly long SpinTicks = Stopwatch.Frequency * 30 / 1_000_000;

    private readonly Thread[] _workers;
    private readonly SemaphoreSlim[] _wakes;
    private readonly int[] _tickets;
    private readonly int[] _next = new int[2 * LineInts];
    private delegate*<void*, int, int, void> _body;
    private void* _job;
    private int _chunks;
    private Exception? _failure;

    public CpuThreadPool(int threads, string name)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        Threads = threads;
        _tickets = new int[(threads + 1) * LineInts];
        _workers = new Thread[threads - 1];
        _wakes = new SemaphoreSlim[threads - 1];
        for (int i = 0; i < _workers.Length; i++)
        {
            int worker = i + 1;
            _wakes[i] = new SemaphoreSlim(0);
            _workers[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = $"{name} worker {worker}" };
            _workers[i].Start();
        }
    }

    /// <summary>Threads including the caller's.</summary>
    public int Threads { get; }

    /// <summary>
    /// Runs body(job, chunk, thread) for every chunk; returns when all are done. Not reentrant, one caller at a time.
    /// <paramref name="work"/> in multiply-adds or so: a little is done by the caller alone.
    /// </summary>
    public void Run(int chunks, long work, void* job, delegate*<void*, int, int, void> body)
    {
        if (chunks <= 1 || Threads == 1 || work < SmallWork)
        {
            for (int chunk = 0; chunk < chunks; chunk++)
                body(job, chunk, 0);
            return;
        }

        _chunks = chunks;
        _job = job;
        _body = body;
        Volatile.Write(ref Next, 0);
        int helpers = Math.Min(chunks, Threads) - 1;
        for (int worker = 1; worker <= helpers; worker++)
        {
            if (Interlocked.Exchange(ref Ticket(worker), Offered) == Parked)
                _wakes[worker - 1].Release();
        }

        ClaimChunks(0);
        for (int worker = 1; worker <= helpers; worker++)
        {
            if (Interlocked.CompareExchange(ref Ticket(worker), Idle, Offered) == Running)
                AwaitWorker(worker);
        }

        if (_failure is { } failure)
        {
            _failure = null;
            throw new InvalidOperationException("A CPU kernel failed.", failure);
        }
    }

    public void Dispose()
    {
        for (int worker = 1; worker < Threads; worker++)
        {
            if (Interlocked.Exchange(ref Ticket(worker), Stopped) == Parked)
                _wakes[worker - 1].Release();
        }

        foreach (Thread worker in _workers)
            worker.Join();
        foreach (SemaphoreSlim wake in _wakes)
            wake.Dispose();
    }

    private ref int Next => ref _next[LineInts];

    private ref int Ticket(int worker) => ref _tickets[worker * LineInts];

    private void ClaimChunks(int thread)
    {
        try
        {
            int chunk;
            while ((chunk = Interlocked.Increment(ref Next) - 1) < _chunks)
                _body(_job, chunk, thread);
        }
        catch (Exception failure)
        {
            _failure = failure;
        }
    }

    private void AwaitWorker(int worker)
    {
        long deadline = Stopwatch.GetTimestamp() + SpinTicks;
        while (Volatile.Read(ref Ticket(worker)) == Running)
        {
            if (Stopwatch.GetTimestamp() < deadline)
                Thread.SpinWait(8);
            else
                Thread.Yield();
        }
    }

    private void Work(int worker)
    {
        ref int ticket = ref Ticket(worker);
        while (true)
        {
            int seen = SpinForTicket(ref ticket);
            if (seen == Stopped)
                return;
            if (seen == Idle && Interlocked.CompareExchange(ref ticket, Parked, Idle) == Idle)
                _wakes[worker - 1].Wait();
            else if (Interlocked.CompareExchange(ref ticket, Running, Offered) == Offered)
            {
                ClaimChunks(worker);
                Interlocked.CompareExchange(ref ticket, Idle, Running);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static int SpinForTicket(ref int ticket)
    {
        long deadline = Stopwatch.GetTimestamp() + SpinTicks;
        int seen;
        while ((seen = Volatile.Read(ref ticket)) == Idle && Stopwatch.GetTimestamp() < deadline)
        {
            for (int i = 0; i < 16 && Volatile.Read(ref ticket) == Idle; i++)
                Thread.SpinWait(1);
        }

        return seen;
    }
}
