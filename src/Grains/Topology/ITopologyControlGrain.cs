using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Topology;

/// <summary>The part of the topology that only silos and replicas call.</summary>
[Alias("Cluster.ITopologyControlGrain")]
internal interface ITopologyControlGrain : ITopologyGrain
{
    /// <summary>A silo reports its devices and the shards it has loaded; replaces what it reported before.</summary>
    [Alias("Join")]
    Task Join([Immutable] SiloRegistration registration);

    /// <summary>Gives a replica its shards and a new epoch, larger than every epoch before (persisted).</summary>
    /// <exception cref="RequestRejectedException">The replica's shards are not loaded (yet): <see cref="RejectionReason.Overloaded"/>.</exception>
    [Alias("OpenReplica")]
    Task<ReplicaAssignment> OpenReplica(string replicaKey);

    /// <summary>A replica reports its load (every second while it has work, and when it becomes idle).</summary>
    [Alias("ReportLoad")]
    Task ReportLoad(string replicaKey, [Immutable] ReplicaLoad load);
}

/// <summary>What a silo brings.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SiloRegistration")]
internal sealed record SiloRegistration(
    [property: Id(0)] SiloDescription Silo,
    [property: Id(1)] ImmutableArray<ModelDescription> Models,
    [property: Id(2)] ImmutableArray<ShardDescription> Shards);

/// <summary>A replica's shards in rank order, and its epoch.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ReplicaAssignment")]
internal sealed record ReplicaAssignment(
    [property: Id(0)] string Model,
    [property: Id(1)] long Epoch,
    [property: Id(2)] ImmutableArray<string> ShardKeys);
