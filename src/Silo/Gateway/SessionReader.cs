using System.Runtime.CompilerServices;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway;

/// <summary>
/// Reads a session's events exactly once each: when the enumeration breaks because a silo died or the session moved, it
/// attaches again after the last number it has handed out.
/// </summary>
internal sealed class SessionReader(ISessionAccess access, RetryPolicy retry)
{
    /// <summary>Streams events from a number on, and ends after the usage event.</summary>
    /// <exception cref="InvalidOperationException">Events are missing: the stream must not look complete.</exception>
    public async IAsyncEnumerable<SessionEvent> Read(
        string id, string owner, long from, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long next = from;
        var attempts = new RetryPolicy.Attempts(retry);
        while (true)
        {
            IAsyncEnumerator<SessionEvent> events = access.Attach(id, owner, next, cancellationToken).GetAsyncEnumerator(cancellationToken);
            try
            {
                while (await MoveNext(events, attempts, started: next > from) is { } current)
                {
                    if (current.SequenceNumber < next)
                        continue;
                    if (current.SequenceNumber > next)
                        throw new InvalidOperationException($"Session {id}: event {current.SequenceNumber} came where {next} was due.");
                    next++;
                    yield return current;
                    attempts.Progress();
                    if (current.Kind == SessionEventKind.Usage)
                        yield break;
                }
            }
            finally
            {
                await Dispose(events);
            }
            if (!attempts.MayRetry())
                throw new TimeoutException($"Session {id} did not go on after event {next - 1}.");
            await attempts.Pause(cancellationToken);
        }
    }

    /// <summary>The next event; null when the enumeration ended or broke and another attempt is due.</summary>
    private static async ValueTask<SessionEvent?> MoveNext(IAsyncEnumerator<SessionEvent> events, RetryPolicy.Attempts attempts, bool started)
    {
        try
        {
            return await events.MoveNextAsync() ? events.Current : null;
        }
        catch (Exception exception) when (MayGoOn(exception, started) && attempts.MayRetry())
        {
            return null;
        }
    }

    // Before the first event overload is the caller's answer (503); after it, the session waits for a replica to come back.
    private static bool MayGoOn(Exception exception, bool started) =>
        RetryPolicy.IsTransient(exception)
        || (started && exception is RequestRejectedException { Reason: RejectionReason.Overloaded });

    private static async ValueTask Dispose(IAsyncEnumerator<SessionEvent> events)
    {
        try
        {
            await events.DisposeAsync();
        }
        catch (Exception exception) when (RetryPolicy.IsTransient(exception))
        {
            // The far end is gone: there is nothing left to dispose.
        }
    }
}
