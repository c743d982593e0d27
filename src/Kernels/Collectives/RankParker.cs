using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Collectives;

/// <summary>Where a rank's thread waits for the other ranks of its process: a bounded spin, then asleep until one of them wakes it.</summary>
internal sealed class RankParker(TimeSpan spin)
{
    private readonly long _spinTicks = (long)(spin.TotalSeconds * Stopwatch.Frequency);
    private readonly SemaphoreSlim _wake = new(0);
    private int _parked;

    /// <summary>Waits; false when the condition was not met in time.</summary>
    public bool WaitUntil<TCondition>(ref TCondition condition, TimeSpan timeout)
        where TCondition : struct, IWaitCondition
    {
        if (condition.IsMet() || Spin(ref condition))
            return true;
        bool forever = timeout == Timeout.InfiniteTimeSpan;
        long deadline = Environment.TickCount64 + (forever ? 0 : (long)timeout.TotalMilliseconds);
        while (true)
        {
            Interlocked.Exchange(ref _parked, 1);
            if (condition.IsMet())
            {
                Unpark();
                return true;
            }

            long left = deadline - Environment.TickCount64;
            if (forever)
                _wake.Wait();
            else if (left <= 0 || !_wake.Wait((int)Math.Min(left, int.MaxValue)))
            {
                Unpark();
                return condition.IsMet();
            }
        }
    }

    /// <summary>Wakes the thread if it sleeps. What it waits for was written before.</summary>
    public void Wake()
    {
        // The sleeper writes "parked" and then reads what it waits for; the waker does it the other way round.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _parked) != 0 && Interlocked.Exchange(ref _parked, 0) != 0)
            _wake.Release();
    }

    // The loops are entered once and stay: they must not begin as unoptimised code.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private bool Spin<TCondition>(ref TCondition condition)
        where TCondition : struct, IWaitCondition
    {
        long deadline = Stopwatch.GetTimestamp() + _spinTicks;
        do
        {
            for (int i = 0; i < 16; i++)
            {
                Thread.SpinWait(1);
                if (condition.IsMet())
                    return true;
            }
        }
        while (Stopwatch.GetTimestamp() < deadline);
        return false;
    }

    // A waker that was faster has released the semaphore, or is about to.
    private void Unpark()
    {
        if (Interlocked.Exchange(ref _parked, 0) == 0)
            _wake.Wait();
    }
}
