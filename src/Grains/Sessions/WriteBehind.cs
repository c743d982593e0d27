using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Sessions;

/// <summary>
/// Writes a row some time after it changed, one write at a time, for as long as it takes. Heals the row's etag after a
/// write that timed out but was applied. Runs on its grain's scheduler; never blocks the caller.
/// </summary>
internal sealed partial class WriteBehind
{
    private static readonly TimeSpan RetryDelay = TimeSpan.FromMilliseconds(250);

    private readonly StoreRow _row;
    private readonly Func<byte[]> _pack;
    private readonly Func<byte[]?, bool> _isAhead;
    private readonly Action _overtaken;
    private readonly TimeSpan _delay;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private TaskCompletionSource _urgent = NewSignal();
    private Task _loop = Task.CompletedTask;
    private bool _dirty;
    private bool _closed;

    /// <param name="row">The row.</param>
    /// <param name="pack">Gives the bytes to write.</param>
    /// <param name="isAhead">Whether bytes found in the store (null: the row is gone) are of someone who is ahead of us.</param>
    /// <param name="overtaken">Called when someone is ahead: this activation is not the session any more.</param>
    /// <param name="delay">How long changes may gather before they are written.</param>
    /// <param name="time">Clock of the delays.</param>
    /// <param name="logger">Where failures are told.</param>
    public WriteBehind(StoreRow row, Func<byte[]> pack, Func<byte[]?, bool> isAhead, Action overtaken, TimeSpan delay, TimeProvider time, ILogger logger)
    {
        (_row, _pack, _isAhead, _overtaken, _delay, _time, _logger) = (row, pack, isAhead, overtaken, delay, time, logger);
    }

    /// <summary>Everything is written.</summary>
    public bool IsClean => !_dirty && _loop.IsCompleted;

    /// <summary>Notes a change, to be written after the delay, or now.</summary>
    public void MarkDirty(bool urgent)
    {
        if (_closed)
            return;
        _dirty = true;
        if (urgent)
            _urgent.TrySetResult();
        if (_loop.IsCompleted)
            _loop = LoopAsync();
    }

    /// <summary>Writes what is not written yet; completes when it is, however long that takes.</summary>
    public Task FlushAsync()
    {
        if (_dirty)
            MarkDirty(urgent: true);
        return _loop;
    }

    /// <summary>Writes nothing any more; completes when the write that runs has ended.</summary>
    public Task CloseAsync()
    {
        _closed = true;
        _dirty = false;
        _urgent.TrySetResult();
        return _loop;
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private async Task LoopAsync()
    {
        while (_dirty)
        {
            await Task.WhenAny(_urgent.Task, Task.Delay(_delay, _time));
            if (!_dirty)
                return;
            _dirty = false;
            _urgent = NewSignal();
            if (await TryWriteAsync())
                continue;
            if (_closed)
                return;
            _dirty = true;
            await Task.Delay(RetryDelay, _time);
        }
    }

    private async Task<bool> TryWriteAsync()
    {
        try
        {
            await _row.WriteAsync(_pack());
            return true;
        }
        catch (SessionStoreException e) when (!e.IsConflict)
        {
            LogFailed(e.Message);
            return false;
        }
        catch (SessionStoreException e)
        {
            LogConflict(e.Message);
            await HealAsync();
            return false;
        }
    }

    // A conflict is our own late write (adopt its etag and write again), or someone who is ahead of us.
    private async Task HealAsync()
    {
        bool existed = _row.Exists;
        byte[]? found;
        try
        {
            found = await _row.ReadAsync();
        }
        catch (SessionStoreException e)
        {
            LogFailed(e.Message);
            return;
        }

        if ((found is null && !existed) || !_isAhead(found))
            return;
        _closed = true;
        _overtaken();
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Progress is not written yet: {Reason}")]
    private partial void LogFailed(string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Progress was written by someone else: {Reason}")]
    private partial void LogConflict(string reason);
}
