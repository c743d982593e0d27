using Cluster.Client.Transports;
using Cluster.Contracts;

namespace Cluster.Client;

/// <summary>
/// How often one stream may try again: bounded by time without progress and, for failures the server itself reports, by
/// number. Progress refills it.
/// </summary>
internal sealed class RetryBudget(ISessionTransport transport, TimeProvider time, TimeSpan timeout)
{
    private const int MostServerFailures = 3;
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(2);

    private int _attempts;
    private int _serverFailures;
    private long _since;

    /// <summary>An event arrived.</summary>
    public void Refill() => _attempts = _serverFailures = 0;

    /// <summary>Whether to try again after <paramref name="exception"/>, and after what delay.</summary>
    /// <param name="exception">What happened.</param>
    /// <param name="accepted">The session is accepted: overload is then a matter of waiting for a replica, not a refusal.</param>
    /// <param name="delay">How long to wait.</param>
    public bool TryTake(Exception exception, bool accepted, out TimeSpan delay)
    {
        delay = default;
        bool waiting = accepted && exception is RequestRejectedException { Reason: RejectionReason.Overloaded };
        if (!waiting && !transport.IsTransient(exception))
            return false;
        if (exception is ServerFailureException && ++_serverFailures > MostServerFailures)
            return false;
        if (_attempts++ == 0)
            _since = time.GetTimestamp();
        TimeSpan left = timeout - time.GetElapsedTime(_since);
        if (left <= TimeSpan.Zero)
            return false;
        delay = FirstDelay * Math.Pow(2, Math.Min(_attempts - 1, 10));
        if (delay > LongestDelay)
            delay = LongestDelay;
        if (waiting)
            delay = TimeSpan.FromSeconds(Math.Max(delay.TotalSeconds, ((RequestRejectedException)exception).RetryAfterSeconds));
        if (delay > left)
            delay = left;
        return true;
    }

    /// <summary>Runs <paramref name="call"/>, again after transient failures while the budget lasts.</summary>
    public async Task<T> RunAsync<T>(Func<Task<T>> call, bool accepted, CancellationToken cancellationToken)
    {
        while (true)
        {
            TimeSpan delay = default;
            try
            {
                return await call().ConfigureAwait(false);
            }
            catch (Exception exception) when (!cancellationToken.IsCancellationRequested && TryTake(exception, accepted, out delay))
            {
            }
            await Task.Delay(delay, time, cancellationToken).ConfigureAwait(false);
        }
    }
}

/// <summary>The server reported that a stream failed (an error event), or answered 500. Carries its message.</summary>
internal sealed class ServerFailureException(string message) : IOException(message);
