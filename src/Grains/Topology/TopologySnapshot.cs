using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Shards;

namespace Cluster.Grains.Topology;

/// <summary>Derives replicas from what silos report. Pure.</summary>
internal static class TopologySnapshot
{
    /// <summary>The topology of the silos that are there.</summary>
    /// <param name="version">Version to give it.</param>
    /// <param name="silos">Registrations of the silos that are there.</param>
    /// <param name="epochs">Last epoch of each replica.</param>
    /// <param name="loads">Loads as last reported; a replica that has not reported is idle.</param>
    public static ClusterTopology For(
        long version,
        IReadOnlyCollection<SiloRegistration> silos,
        IReadOnlyDictionary<string, long> epochs,
        IReadOnlyDictionary<string, ReplicaLoad> loads)
    {
        IEnumerable<ReplicaDescription> replicas = silos.SelectMany(silo => silo.Shards)
            .GroupBy(shard => ShardKey.Parse(shard.Key).ReplicaKey)
            .OrderBy(shards => shards.Key, StringComparer.Ordinal)
            .Select(shards => Describe(shards.Key, [.. shards.OrderBy(shard => shard.Rank)], epochs, loads));
        return new ClusterTopology(
            version,
            [.. silos.Select(silo => silo.Silo).OrderBy(silo => silo.Name, StringComparer.Ordinal)],
            [.. silos.SelectMany(silo => silo.Models).DistinctBy(model => model.Name).OrderBy(model => model.Name, StringComparer.Ordinal)],
            [.. replicas]);
    }

    /// <summary>Whether the ranks of a replica's shards are 0, 1, 2 ... without gap or repetition.</summary>
    public static bool IsComplete(ImmutableArray<ShardDescription> shards)
    {
        for (int rank = 0; rank < shards.Length; rank++)
        {
            if (shards[rank].Rank != rank)
                return false;
        }

        return shards.Length > 0;
    }

    private static ReplicaDescription Describe(
        string key,
        ImmutableArray<ShardDescription> shards,
        IReadOnlyDictionary<string, long> epochs,
        IReadOnlyDictionary<string, ReplicaLoad> loads)
    {
        ReplicaLoad load = loads.GetValueOrDefault(key) ?? new ReplicaLoad { Ready = true };
        return new ReplicaDescription
        {
            Key = key,
            Model = ShardKey.Parse(shards[0].Key).Model,
            Epoch = epochs.GetValueOrDefault(key),
            Shards = shards,
            Load = load with { Ready = load.Ready && IsComplete(shards) },
        };
    }
}
