using Cluster.Client.Transports;
using Cluster.Contracts;

namespace Cluster.Client;

/// <summary>
/// Reads one session across any number of connections. The cursor is the consumer's: what was not handed out is asked for
/// again, what was handed out is dropped when a connection repeats it.
/// </summary>
internal sealed class ResumingReader(ISessionTransport transport, InferenceClientOptions options, string id, long next, CancellationToken cancellationToken) : IAsyncDisposable
{
    private readonly RetryBudget _budget = new(transport, options.TimeProvider, options.ReconnectTimeout);
    private IAsyncEnumerator<SessionEvent>? _events;
    private long _next = next;
    private bool _anyEvent;
    private bool _complete;
    private Exception? _lost;

    /// <summary>The connection in use; set it to start with one that is open already.</summary>
    public SessionConnection? Connection { get; set; }

    /// <summary>What the session accepted, as far as known.</summary>
    public SessionDescription? Description { get; private set; }

    /// <summary>The next event, or null after the last.</summary>
    public async ValueTask<SessionEvent?> ReadAsync()
    {
        while (!_complete)
        {
            TimeSpan delay;
            try
            {
                if (await ReadOnceAsync().ConfigureAwait(false) is { } sessionEvent)
                    return sessionEvent;
                continue;
            }
            catch (Exception exception) when (!cancellationToken.IsCancellationRequested)
            {
                await DropConnectionAsync().ConfigureAwait(false);
                if (!_budget.TryTake(exception, accepted: true, out delay))
                {
                    if (Interruption(exception) is { } interruption)
                        throw interruption;
                    throw;
                }
                _lost = exception;
            }
            await Task.Delay(delay, options.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
        return null;
    }

    public ValueTask DisposeAsync() => DropConnectionAsync();

    /// <summary>Next event of the current connection; null if there is nothing to hand out (ended, or a repetition).</summary>
    private async ValueTask<SessionEvent?> ReadOnceAsync()
    {
        Connection ??= await transport.AttachAsync(id, _next, cancellationToken).ConfigureAwait(false);
        _events ??= Connection.Events.GetAsyncEnumerator(cancellationToken);
        bool moved = await _events.MoveNextAsync().ConfigureAwait(false);
        if (_lost is null || Description is null)
            Description = Connection.Description ?? Description;
        if (!moved)
        {
            // A session's last event is its usage; an end before that is a connection that died politely.
            _complete = !_anyEvent ? true : throw new EndOfStreamException("the stream ended without its usage event");
            return null;
        }
        SessionEvent sessionEvent = _events.Current;
        if (sessionEvent.SequenceNumber < _next)
            return null;
        if (sessionEvent.SequenceNumber > _next)
            throw new SequenceGapException(_next, sessionEvent.SequenceNumber);
        _next = sessionEvent.SequenceNumber + 1;
        _anyEvent = true;
        _complete = sessionEvent.Kind == SessionEventKind.Usage;
        _budget.Refill();
        return sessionEvent;
    }

    /// <summary>What to tell the consumer when trying again is over; null = the exception itself says it.</summary>
    private StreamInterruptedException? Interruption(Exception exception)
    {
        if (transport.IsTransient(exception))
            return new StreamInterruptedException(id, _next - 1, exception.Message, exception);
        // The first loss is the cause; that the server cannot resume is why it could not be repaired.
        return _lost is not null && exception is RequestRejectedException { Reason: RejectionReason.SessionNotFound }
            ? new StreamInterruptedException(id, _next - 1, $"{_lost.Message}; the server does not have the session any more: {exception.Message}", _lost)
            : null;
    }

    private async ValueTask DropConnectionAsync()
    {
        (IAsyncEnumerator<SessionEvent>? events, SessionConnection? connection) = (_events, Connection);
        (_events, Connection) = (null, null);
        try
        {
            if (events is not null)
                await events.DisposeAsync().ConfigureAwait(false);
        }
        catch (Exception exception) when (transport.IsTransient(exception) || exception is OperationCanceledException)
        {
            // The silo behind it is gone: there is nothing left to close.
        }
        if (connection is not null)
            await connection.DisposeAsync().ConfigureAwait(false);
    }
}

/// <summary>Events are missing between two that a connection delivered: never hand out what comes after.</summary>
internal sealed class SequenceGapException(long expected, long actual)
    : IOException($"expected sequence number {expected}, the stream went on with {actual}");
