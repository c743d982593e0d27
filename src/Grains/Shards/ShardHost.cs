using System.Collections.Concurrent;
using Cluster.Kernels.Execution;

namespace Cluster.Grains.Shards;

/// <summary>
/// The engines loaded in this silo, by shard key. Device state lives here and not in grains: a shard grain is a facade
/// that may be deactivated and made again without reloading weights.
/// </summary>
internal sealed class ShardHost
{
    private readonly ConcurrentDictionary<string, IShardEngine> _engines = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, long> _epochs = new(StringComparer.Ordinal);

    /// <summary>Keys of the loaded shards.</summary>
    public IReadOnlyCollection<string> Keys => (IReadOnlyCollection<string>)_engines.Keys;

    /// <summary>Adds a loaded engine.</summary>
    public void Add(string shardKey, IShardEngine engine)
    {
        if (!_engines.TryAdd(shardKey, engine))
            throw new InvalidOperationException($"Shard {shardKey} is already loaded.");
    }

    /// <summary>The engine of a shard, or null while it is not loaded here.</summary>
    public IShardEngine? Find(string shardKey) => _engines.GetValueOrDefault(shardKey);

    /// <summary>Removes an engine; the caller disposes it.</summary>
    public IShardEngine? Remove(string shardKey) => _engines.TryRemove(shardKey, out IShardEngine? engine) ? engine : null;

    /// <summary>Notes an epoch of a shard and returns the newest one that was ever noted. Outlives the shard's grain.</summary>
    public long Fence(string shardKey, long epoch) =>
        _epochs.AddOrUpdate(shardKey, static (_, noted) => noted, static (_, known, noted) => Math.Max(known, noted), epoch);
}
