using Microsoft.Extensions.Logging;
using Orleans.Serialization;
using Orleans.Storage;

namespace Cluster.Grains.Sessions;

/// <summary>
/// The rows of one session. The accept record is written once, before the first byte leaves, and may be large (prompts);
/// progress is small and written behind the stream, so it has a row of its own.
/// </summary>
internal sealed class SessionJournal
{
    /// <summary>Progress is written at least this often while tokens come.</summary>
    public static readonly TimeSpan WriteInterval = TimeSpan.FromMilliseconds(250);

    /// <summary>Progress is written after so many tokens even if the interval is not over.</summary>
    public const int WriteTokens = 64;

    private static readonly TimeSpan AcceptTimeout = TimeSpan.FromSeconds(10);

    private readonly StoreRow _accepted;
    private readonly StoreRow _progress;
    private readonly Serializer<AcceptRecord> _serializer;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private WriteBehind? _writer;
    private int _unwrittenTokens;

    public SessionJournal(IGrainStorage storage, GrainId session, Serializer<AcceptRecord> serializer, TimeProvider time, ILogger logger)
    {
        _accepted = new StoreRow(storage, "session-accepted", session);
        _progress = new StoreRow(storage, "session-progress", session);
        (_serializer, _time, _logger) = (serializer, time, logger);
    }

    /// <summary>Nothing waits to be written.</summary>
    public bool IsClean => _writer is null || _writer.IsClean;

    /// <summary>The accept record, or null when there is no such session.</summary>
    public async Task<AcceptRecord?> ReadAcceptedAsync() =>
        await _accepted.ReadAsync() is { } payload ? _serializer.Deserialize(payload) : null;

    /// <summary>Makes the acceptance durable.</summary>
    /// <exception cref="SessionStoreException">It is not known to be durable.</exception>
    public async Task AcceptAsync(AcceptRecord accepted)
    {
        Task write = _accepted.WriteAsync(_serializer.SerializeToArray(accepted));
        try
        {
            await write.WaitAsync(AcceptTimeout, _time);
        }
        catch (TimeoutException)
        {
            write.Ignore();
            throw new SessionStoreException($"The store did not answer within {AcceptTimeout.TotalSeconds} s.", isConflict: false);
        }
    }

    /// <summary>The progress row, or null when nothing was written yet.</summary>
    public Task<byte[]?> ReadProgressAsync() => _progress.ReadAsync();

    /// <summary>From now on writes the progress of a transcript.</summary>
    /// <param name="transcript">What is emitted.</param>
    /// <param name="idleSince">When the session became idle, Unix milliseconds, or 0.</param>
    /// <param name="overtaken">Called when another activation is ahead of this one.</param>
    public void Track(SessionTranscript transcript, Func<long> idleSince, Action overtaken) => _writer = new WriteBehind(
        _progress,
        () => SessionProgress.Pack(transcript, idleSince()),
        found => IsAhead(found, transcript),
        overtaken,
        WriteInterval,
        _time,
        _logger);

    /// <summary>Notes new tokens.</summary>
    public void AddTokens(int count)
    {
        _unwrittenTokens += count;
        bool urgent = _unwrittenTokens >= WriteTokens;
        if (urgent)
            _unwrittenTokens = 0;
        _writer!.MarkDirty(urgent);
    }

    /// <summary>Notes a change that is not a token.</summary>
    public void MarkDirty() => _writer!.MarkDirty(urgent: true);

    /// <summary>Writes what is not written yet; completes when it is, however long the store takes.</summary>
    public Task FlushAsync() => _writer?.FlushAsync() ?? Task.CompletedTask;

    /// <summary>Deletes the rows, the accept record first: without it there is no session.</summary>
    public async Task RemoveAsync()
    {
        Task written = _writer?.CloseAsync() ?? Task.CompletedTask;
        await _accepted.ClearAsync();
        await written;
        await _progress.ClearAsync();
    }

    private static bool IsAhead(byte[]? found, SessionTranscript transcript)
    {
        // A row that vanished was deleted with its session.
        if (found is null)
            return true;
        try
        {
            return SessionProgress.CountTokens(found) > transcript.TokenCount;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }
}
