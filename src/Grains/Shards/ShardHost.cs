using System.Collections.Concurrent;
using Cluster.Kernels.Execution;

namespace Cluster.Grains.Shards;

/// <summary>
/// The shards loaded in this silo, by key. Device state lives here and not in grains: a shard grain is a facade that may be
/// deactivated and made again without reloading weights, and a replica in this silo needs no grain call per step.
/// </summary>
internal sealed class ShardHost(ShardGroups groups)
{
    private readonly ConcurrentDictionary<string, ShardRunner> _shards = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, long> _epochs = new(StringComparer.Ordinal);

    /// <summary>Keys of the loaded shards.</summary>
    public IReadOnlyCollection<string> Keys => (IReadOnlyCollection<string>)_shards.Keys;

    /// <summary>Adds a loaded engine.</summary>
    public void Add(string shardKey, IShardEngine engine)
    {
        if (!_shards.TryAdd(shardKey, new ShardRunner(shardKey, engine, this, groups)))
            throw new InvalidOperationException($"Shard {shardKey} is already loaded.");
    }

    /// <summary>A shard, or null while it is not loaded here.</summary>
    public ShardRunner? Find(string shardKey) => _shards.GetValueOrDefault(shardKey);

    /// <summary>Removes an engine; the caller disposes it.</summary>
    public IShardEngine? Remove(string shardKey)
    {
        if (!_shards.TryRemove(shardKey, out ShardRunner? shard))
            return null;
        shard.Close();
        return shard.Engine;
    }

    /// <summary>The newest epoch of a shard that was ever noted here; -1 = none.</summary>
    public long EpochOf(string shardKey) => _epochs.GetValueOrDefault(shardKey, -1);

    /// <summary>Notes an epoch of a shard and returns the newest one that was ever noted. Outlives the shard's grain.</summary>
    public long Fence(string shardKey, long epoch) =>
        _epochs.AddOrUpdate(shardKey, static (_, noted) => noted, static (_, known, noted) => Math.Max(known, noted), epoch);
}
