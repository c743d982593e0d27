using System.Globalization;
using Orleans.Storage;

namespace Cluster.Silo.Storage;

/// <summary>
/// Grain storage on the embedded store, with the etag rules of Orleans' Redis provider: a first write needs no etag, a
/// later one the etag that was read or written last; anything else is an <see cref="InconsistentStateException"/>.
/// </summary>
internal sealed class SqliteGrainStorage(SqliteStore store, IGrainStorageSerializer serializer) : IGrainStorage
{
    /// <inheritdoc/>
    public async Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        StoredRow? row = await store.ReadAsync(stateName, grainId.ToString());
        grainState.RecordExists = row is not null;
        grainState.ETag = row is null ? null : Format(row.Version);
        grainState.State = row is null ? Activator.CreateInstance<T>() : serializer.Deserialize<T>(new BinaryData(row.Payload));
    }

    /// <inheritdoc/>
    public async Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        byte[] payload = serializer.Serialize(grainState.State).ToArray();
        long version = await Translate(store.WriteAsync(stateName, grainId.ToString(), Parse(grainState.ETag), payload), grainState.ETag);
        grainState.ETag = Format(version);
        grainState.RecordExists = true;
    }

    /// <inheritdoc/>
    public async Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        await Translate(Delete(stateName, grainId, grainState.ETag), grainState.ETag);
        grainState.ETag = null;
        grainState.RecordExists = false;
        grainState.State = Activator.CreateInstance<T>();
    }

    private async Task<long> Delete(string stateName, GrainId grainId, string? etag)
    {
        await store.DeleteAsync(stateName, grainId.ToString(), Parse(etag));
        return 0;
    }

    private static async Task<long> Translate(Task<long> operation, string? etag)
    {
        try
        {
            return await operation;
        }
        catch (VersionConflictException conflict)
        {
            throw new InconsistentStateException(conflict.Message, conflict.Stored is { } stored ? Format(stored) : "none", etag ?? "none", conflict);
        }
    }

    private static string Format(long version) => version.ToString(CultureInfo.InvariantCulture);

    private static long? Parse(string? etag) => etag is null ? null : long.Parse(etag, CultureInfo.InvariantCulture);
}
