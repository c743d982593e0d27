using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Shards;

namespace Cluster.Silo.Hosting;

/// <summary>
/// Which replica of its model each shard of this silo is. Silos that serve the same model must not claim the same number:
/// each takes the first one that is free, and where two took it at the same moment, the silo whose name comes later
/// takes another.
/// </summary>
internal static class ReplicaNumbering
{
    /// <summary>The models with the numbers this silo should claim.</summary>
    public static ImmutableArray<LoadedModel> Choose(ClusterTopology topology, string silo, ImmutableArray<LoadedModel> models) =>
        [.. models.Select(model => Choose(topology, silo, model))];

    private static LoadedModel Choose(ClusterTopology topology, string silo, LoadedModel model)
    {
        ShardKey key = ShardKey.Parse(model.Shard.Key);
        ILookup<int, string> claims = topology.Replicas
            .Where(replica => replica.Model == key.Model)
            .SelectMany(replica => replica.Shards)
            .Where(shard => shard.Silo != silo)
            .ToLookup(shard => ShardKey.Parse(shard.Key).Replica, shard => shard.Silo);
        bool isClaimed = topology.Replicas.SelectMany(replica => replica.Shards).Any(shard => shard.Key == model.Shard.Key);
        // Our own claim stands unless a silo that comes before us made it, too.
        if (isClaimed && claims[key.Replica].All(other => string.CompareOrdinal(silo, other) < 0))
            return model;
        int free = Enumerable.Range(0, claims.Count + 1).First(number => !claims.Contains(number));
        string chosen = (key with { Replica = free }).ToString();
        return model with { Shard = model.Shard with { Key = chosen } };
    }
}
