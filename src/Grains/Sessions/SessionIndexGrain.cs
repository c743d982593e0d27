using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Orleans.Concurrency;
using Orleans.Storage;

namespace Cluster.Grains.Sessions;

/// <summary>A bucket of the session index. Many changes share one write.</summary>
[Reentrant, KeepAlive]
internal sealed partial class SessionIndexGrain : Grain, ISessionIndexGrain
{
    private const int TendedAtOnce = 32;

    private readonly Dictionary<string, long> _due = new(StringComparer.Ordinal);
    private readonly HashSet<string> _removed = new(StringComparer.Ordinal);
    private readonly TimeProvider _time;
    private readonly ILogger<SessionIndexGrain> _logger;
    private readonly StoreRow _row;
    private Task? _loading;
    private Task _write = Task.CompletedTask;
    private Task? _nextWrite;
    private bool _sweeping;

    public SessionIndexGrain(
        [FromKeyedServices("Default")] IGrainStorage storage,
        IGrainContext context,
        TimeProvider time,
        ILogger<SessionIndexGrain> logger)
    {
        _row = new StoreRow(storage, "session-index", context.GrainId);
        (_time, _logger) = (time, logger);
    }

    public async Task Add(string sessionId, long due)
    {
        await LoadedAsync();
        _due[sessionId] = due;
        _removed.Remove(sessionId);
        await WriteAsync();
    }

    public async Task Remove(string sessionId)
    {
        await LoadedAsync();
        if (!_due.Remove(sessionId))
            return;
        _removed.Add(sessionId);
        await WriteAsync();
    }

    public async Task Sweep()
    {
        if (_sweeping)
            return;
        _sweeping = true;
        try
        {
            await LoadedAsync();
            long now = _time.GetUtcNow().ToUnixTimeMilliseconds();
            string[] due = [.. _due.Where(entry => entry.Value <= now).Select(entry => entry.Key)];
            bool changed = false;
            foreach (string[] some in due.Chunk(TendedAtOnce))
                changed |= (await Task.WhenAll(some.Select(TendAsync))).Contains(true);
            if (changed)
                await WriteAsync();
        }
        finally
        {
            _sweeping = false;
        }
    }

    private async Task<bool> TendAsync(string sessionId)
    {
        long? due;
        try
        {
            due = await GrainFactory.GetGrain<ISessionControlGrain>(sessionId).Tend();
        }
        catch (Exception e)
        {
            LogTendFailed(sessionId, e.Message);
            return false;
        }

        if (due is { } next)
        {
            bool changed = _due.TryGetValue(sessionId, out long known) && known != next;
            if (changed)
                _due[sessionId] = next;
            return changed;
        }

        _removed.Add(sessionId);
        return _due.Remove(sessionId);
    }

    private Task LoadedAsync() => _loading is null or { IsFaulted: true } ? _loading = LoadAsync() : _loading;

    private async Task LoadAsync()
    {
        if (await _row.ReadAsync() is { } payload)
            Merge(payload);
    }

    private void Merge(byte[] payload)
    {
        try
        {
            foreach ((string id, long due) in SessionIndexRow.Unpack(payload))
            {
                if (!_removed.Contains(id))
                    _due.TryAdd(id, due);
            }
        }
        catch (InvalidDataException e)
        {
            // Nothing else can be done: the sessions are still there, but are not found by a sweep.
            LogDamaged(e.Message);
        }
    }

    // Joins the write that begins next, so that all changes made until then are in it.
    private Task WriteAsync() => _nextWrite ??= WriteNextAsync();

    private async Task WriteNextAsync()
    {
        await Task.Yield();
        await _write.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        _write = _nextWrite!;
        _nextWrite = null;
        byte[] payload = SessionIndexRow.Pack(_due);
        string[] removed = [.. _removed];
        try
        {
            await _row.WriteAsync(payload);
        }
        catch (SessionStoreException e) when (e.IsConflict)
        {
            if (await _row.ReadAsync() is { } found)
                Merge(found);
            await _row.WriteAsync(SessionIndexRow.Pack(_due));
        }

        _removed.ExceptWith(removed);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Session {SessionId} could not be tended: {Reason}")]
    private partial void LogTendFailed(string sessionId, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "The row of the session index is damaged: {Reason}")]
    private partial void LogDamaged(string reason);
}
