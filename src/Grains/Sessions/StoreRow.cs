using Orleans.Storage;

namespace Cluster.Grains.Sessions;

/// <summary>
/// One row in the store. Every operation works on its own state object, so that a write that timed out and lands later
/// cannot touch what a newer operation uses. Exceptions of the store's driver are turned into
/// <see cref="SessionStoreException"/> here: callers may not have the driver's assembly.
/// </summary>
internal sealed class StoreRow(IGrainStorage storage, string name, GrainId owner)
{
    private const int ClearAttempts = 3;

    private string? _etag;

    /// <summary>Whether the row existed when it was last read or written.</summary>
    public bool Exists { get; private set; }

    /// <summary>The row's bytes, or null when there is none.</summary>
    public async Task<byte[]?> ReadAsync()
    {
        var state = new GrainState<JournalRow>(new JournalRow());
        await TranslateAsync(storage.ReadStateAsync(name, owner, state));
        Remember(state);
        return state.RecordExists ? state.State?.Payload ?? [] : null;
    }

    /// <summary>Writes the row if nobody else has written it since it was last read or written here.</summary>
    /// <exception cref="SessionStoreException">It was not written, or it is not known whether it was.</exception>
    public async Task WriteAsync(byte[] payload)
    {
        var state = new GrainState<JournalRow>(new JournalRow { Payload = payload }, _etag) { RecordExists = Exists };
        await TranslateAsync(storage.WriteStateAsync(name, owner, state));
        _etag = state.ETag;
        Exists = true;
    }

    /// <summary>Deletes the row, whoever wrote it last.</summary>
    public async Task ClearAsync()
    {
        for (int attempt = 1; await ReadAsync() is not null; attempt++)
        {
            var state = new GrainState<JournalRow>(new JournalRow(), _etag) { RecordExists = true };
            try
            {
                await TranslateAsync(storage.ClearStateAsync(name, owner, state));
                (_etag, Exists) = (null, false);
                return;
            }
            catch (SessionStoreException e) when (e.IsConflict && attempt < ClearAttempts)
            {
                // A late write of ours came in between.
            }
        }
    }

    private void Remember(GrainState<JournalRow> state)
    {
        _etag = state.ETag;
        Exists = state.RecordExists;
    }

    private async Task TranslateAsync(Task operation)
    {
        try
        {
            await operation;
        }
        catch (Exception e)
        {
            throw new SessionStoreException($"Row {name} of {owner}: {e.GetType().Name}: {e.Message}", e is InconsistentStateException);
        }
    }
}
