using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Topology;

/// <summary>What the outside sees of the topology. Pure.</summary>
internal static class TopologySnapshot
{
    /// <summary>The topology of the silos that are there.</summary>
    /// <param name="version">Version to give it.</param>
    /// <param name="silos">Silos that are there.</param>
    /// <param name="state">What is declared and planned.</param>
    /// <param name="reports">What silos said of their shards, by shard key.</param>
    /// <param name="loads">Loads as last reported; a replica that has not reported is idle.</param>
    public static ClusterTopology For(
        long version,
        IEnumerable<SiloDescription> silos,
        TopologyState state,
        IReadOnlyDictionary<string, ShardReport> reports,
        IReadOnlyDictionary<string, ReplicaLoad> loads)
    {
        ModelDeclaration[] declarations = [.. state.Declarations.Values.OrderBy(declaration => declaration.Description.Name, StringComparer.Ordinal)];
        return new ClusterTopology(
            version,
            [.. silos.OrderBy(silo => silo.Name, StringComparer.Ordinal)],
            [.. declarations.Select(declaration => declaration.Description)],
            [.. state.Replicas.Select(replica => Describe(replica, state.Epochs, reports, loads))])
        {
            Declarations = [.. declarations],
        };
    }

    /// <summary>Whether all shards of a replica are loaded.</summary>
    public static bool IsComplete(ImmutableArray<ShardDescription> shards) => shards.All(shard => shard.State == ShardState.Ready);

    private static ReplicaDescription Describe(
        PlacedReplica replica, Dictionary<string, long> epochs, IReadOnlyDictionary<string, ShardReport> reports, IReadOnlyDictionary<string, ReplicaLoad> loads)
    {
        ImmutableArray<ShardDescription> shards = [.. replica.Places.Select((place, rank) => Describe(replica, place, rank, reports))];
        ReplicaLoad load = loads.GetValueOrDefault(replica.Key) ?? new ReplicaLoad { Ready = true };
        return new ReplicaDescription
        {
            Key = replica.Key,
            Model = replica.Model,
            Epoch = epochs.GetValueOrDefault(replica.Key),
            Shards = shards,
            Load = load with { Ready = load.Ready && IsComplete(shards) },
        };
    }

    private static ShardDescription Describe(PlacedReplica replica, DevicePlace place, int rank, IReadOnlyDictionary<string, ShardReport> reports)
    {
        string key = replica.ShardKeyOf(rank);
        ShardReport? report = reports.GetValueOrDefault(key);
        return new ShardDescription(key, place.Silo, place.Device, rank) { State = report?.State ?? ShardState.Loading, Problem = report?.Problem };
    }
}
