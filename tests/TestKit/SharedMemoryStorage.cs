using System.Collections.Concurrent;
using System.Globalization;
using Orleans.Runtime;
using Orleans.Serialization;
using Orleans.Storage;

namespace Cluster.TestKit;

/// <summary>
/// Grain storage in the memory of the test process: shared by all silos of a fixture, so that rows outlive a silo. Values
/// are kept as bytes, with versions as etags. Injectable delay and failure.
/// </summary>
public sealed class SharedMemoryStorage
{
    private readonly ConcurrentDictionary<(string Name, GrainId Grain), (byte[] Value, long Version)> _rows = new();
    private long _writes;

    /// <summary>Called before each read, write and clear with the operation's name: tests wait or throw here.</summary>
    public Func<string, Task>? BeforeOperation { get; set; }

    /// <summary>Rows.</summary>
    public int Count => _rows.Count;

    /// <summary>Writes so far.</summary>
    public long Writes => Interlocked.Read(ref _writes);

    /// <summary>The storage as one silo sees it.</summary>
    public IGrainStorage For(Serializer serializer) => new View(this, serializer);

    private sealed class View(SharedMemoryStorage owner, Serializer serializer) : IGrainStorage
    {
        public async Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
        {
            await Before("read");
            bool exists = owner._rows.TryGetValue((stateName, grainId), out (byte[] Value, long Version) row);
            grainState.RecordExists = exists;
            grainState.ETag = exists ? row.Version.ToString(CultureInfo.InvariantCulture) : null;
            grainState.State = exists ? serializer.Deserialize<T>(row.Value) : Activator.CreateInstance<T>();
        }

        public async Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
        {
            await Before("write");
            long version = Interlocked.Increment(ref owner._writes);
            byte[] value = serializer.SerializeToArray(grainState.State);
            owner._rows.AddOrUpdate(
                (stateName, grainId),
                _ => Check(grainState.ETag, null, (value, version)),
                (_, row) => Check(grainState.ETag, row.Version.ToString(CultureInfo.InvariantCulture), (value, version)));
            grainState.ETag = version.ToString(CultureInfo.InvariantCulture);
            grainState.RecordExists = true;
        }

        public async Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
        {
            await Before("clear");
            if (owner._rows.TryGetValue((stateName, grainId), out (byte[] Value, long Version) row))
            {
                Check(grainState.ETag, row.Version.ToString(CultureInfo.InvariantCulture), row);
                owner._rows.TryRemove((stateName, grainId), out _);
            }

            (grainState.ETag, grainState.RecordExists) = (null, false);
        }

        private Task Before(string operation) => owner.BeforeOperation?.Invoke(operation) ?? Task.CompletedTask;

        private static (byte[] Value, long Version) Check(string? given, string? stored, (byte[] Value, long Version) next) =>
            given == stored ? next : throw new InconsistentStateException("The row was changed by someone else.", stored, given);
    }
}
