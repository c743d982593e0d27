using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Topology;

/// <summary>What is known when replicas are planned.</summary>
internal sealed record PlanningState
{
    /// <summary>What is asked for.</summary>
    public required IReadOnlyList<ModelDeclaration> Declarations { get; init; }

    /// <summary>Devices that may take shards.</summary>
    public required IReadOnlyList<DevicePlace> Devices { get; init; }

    /// <summary>Devices that work but are to be emptied.</summary>
    public IReadOnlySet<DevicePlace> Leaving { get; init; } = ImmutableHashSet<DevicePlace>.Empty;

    /// <summary>Replicas as planned so far.</summary>
    public IReadOnlyList<PlacedReplica> Placed { get; init; } = [];

    /// <summary>Keys of the replicas whose shards are all loaded.</summary>
    public IReadOnlySet<string> Ready { get; init; } = ImmutableHashSet<string>.Empty;

    /// <summary>Silos that could not load a model.</summary>
    public IReadOnlySet<(string Model, string Silo)> Unusable { get; init; } = ImmutableHashSet<(string Model, string Silo)>.Empty;

    /// <summary>First number of each model that was never used.</summary>
    public IReadOnlyDictionary<string, int> NextNumbers { get; init; } = ImmutableDictionary<string, int>.Empty;
}

/// <summary>Where every replica should be.</summary>
/// <param name="Replicas">In the order of their keys.</param>
/// <param name="NextNumbers">First number of each model that is not used.</param>
internal sealed record TopologyPlan(ImmutableArray<PlacedReplica> Replicas, ImmutableDictionary<string, int> NextNumbers)
{
    /// <summary>
    /// Brings the replicas into line with what is asked for, with the fewest moves: what stands well stays; a lost rank gets
    /// a free device; a replica that must go (drained silo, other layout) stays until the others of its model are loaded, or at
    /// once where its devices are needed and enough; what cannot be placed takes nothing away. A device holds at most one shard of replicas with several; only when there are more
    /// models than devices do single shards share one. Pure.
    /// </summary>
    public static TopologyPlan For(PlanningState state) => new TopologyPlanning(state).Run();
}
