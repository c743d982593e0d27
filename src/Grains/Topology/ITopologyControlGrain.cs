using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Topology;

/// <summary>The part of the topology that only silos and replicas call.</summary>
[Alias("Cluster.ITopologyControlGrain")]
internal interface ITopologyControlGrain : ITopologyGrain
{
    /// <summary>
    /// A silo says that it is there, what it wants served and how far its shards are, and learns which shards it should have.
    /// Called twice a second and after every change: the topology has no other way to a silo.
    /// </summary>
    /// <exception cref="RequestRejectedException">Another model is declared under one of the names.</exception>
    [Alias("Report")]
    Task<SiloOrders> Report([Immutable] SiloReport report);

    /// <summary>Gives a replica its shards and a new epoch, larger than every epoch before (persisted).</summary>
    /// <exception cref="Replicas.ReplicaUnavailableException">It is not planned, or its shards are not loaded (yet).</exception>
    [Alias("OpenReplica")]
    Task<ReplicaAssignment> OpenReplica(string replicaKey);

    /// <summary>A replica reports its load (every second while it has work, and when it becomes idle).</summary>
    [Alias("ReportLoad")]
    Task ReportLoad(string replicaKey, [Immutable] ReplicaLoad load);

    /// <summary>Somebody asks for a model that is scaled to zero: it gets a replica until it has been idle for a while.</summary>
    [Alias("Wake")]
    Task Wake(string model);
}

/// <summary>What a silo brings and has.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SiloReport")]
internal sealed record SiloReport
{
    /// <summary>Name, devices, addresses.</summary>
    [Id(0)] public required SiloDescription Silo { get; init; }

    /// <summary>Models that its flags declare.</summary>
    [Id(1)] public required ImmutableArray<ModelDeclaration> Declarations { get; init; }

    /// <summary>Whether only these declarations count (the silo is alone): what was declared before is forgotten.</summary>
    [Id(2)] public bool ReplaceDeclarations { get; init; }

    /// <summary>Its shards.</summary>
    [Id(3)] public required ImmutableArray<ShardReport> Shards { get; init; }
}

/// <summary>How far a shard is.</summary>
/// <param name="Key">Key of the shard.</param>
/// <param name="State">How far it is.</param>
/// <param name="Problem">Why it could not be loaded, or null.</param>
/// <param name="Epoch">Highest epoch that it knows; -1 = none.</param>
[GenerateSerializer, Immutable, Alias("Cluster.ShardReport")]
internal sealed record ShardReport(
    [property: Id(0)] string Key,
    [property: Id(1)] ShardState State,
    [property: Id(2)] string? Problem,
    [property: Id(3)] long Epoch);

/// <summary>What a silo should have.</summary>
/// <param name="Declarations">Every declared model.</param>
/// <param name="Shards">Its shards; it drops all others.</param>
[GenerateSerializer, Immutable, Alias("Cluster.SiloOrders")]
internal sealed record SiloOrders(
    [property: Id(0)] ImmutableArray<ModelDeclaration> Declarations,
    [property: Id(1)] ImmutableArray<ShardOrder> Shards);

/// <summary>A shard that a silo should have.</summary>
/// <param name="Key">Key of the shard.</param>
/// <param name="Model">Served name.</param>
/// <param name="Layout">How its replica is cut.</param>
[GenerateSerializer, Immutable, Alias("Cluster.ShardOrder")]
internal sealed record ShardOrder(
    [property: Id(0)] string Key,
    [property: Id(1)] string Model,
    [property: Id(2)] ModelLayout Layout);

/// <summary>A replica's shards in rank order, and its epoch.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ReplicaAssignment")]
internal sealed record ReplicaAssignment(
    [property: Id(0)] string Model,
    [property: Id(1)] long Epoch,
    [property: Id(2)] ImmutableArray<string> ShardKeys)
{
    /// <summary>How the replica is cut.</summary>
    [Id(3)] public ModelLayout Layout { get; init; } = ModelLayout.Single;

    /// <summary>Where each rank takes connections of its peers; empty for one shard.</summary>
    [Id(4)] public ImmutableArray<string> Endpoints { get; init; } = [];

    /// <summary>Proves to the peers that a rank belongs to this epoch; empty for one shard.</summary>
    [Id(5)] public ImmutableArray<byte> Secret { get; init; } = [];

    /// <summary>How tokens are guessed ahead; null = they are not.</summary>
    [Id(6)] public SpeculativeConfig? Speculation { get; init; }
}
