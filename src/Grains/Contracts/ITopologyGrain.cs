using System.Collections.Immutable;

namespace Cluster.Contracts;

/// <summary>The versioned truth: silos, devices, models, replicas, shards. One grain, key 0.</summary>
[Alias("Cluster.ITopologyGrain")]
public interface ITopologyGrain : IGrainWithIntegerKey
{
    /// <summary>The current topology.</summary>
    [Alias("Get")]
    Task<ClusterTopology> Get(CancellationToken cancellationToken);
}

/// <summary>Snapshot of the cluster.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ClusterTopology")]
public sealed record ClusterTopology(
    [property: Id(0)] long Version,
    [property: Id(1)] ImmutableArray<SiloDescription> Silos,
    [property: Id(2)] ImmutableArray<ModelDescription> Models,
    [property: Id(3)] ImmutableArray<ReplicaDescription> Replicas);

/// <summary>A silo and its devices.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SiloDescription")]
public sealed record SiloDescription(
    [property: Id(0)] string Name,
    [property: Id(1)] ImmutableArray<string> Devices,
    [property: Id(2)] string HttpUrl);

/// <summary>A declared model.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ModelDescription")]
public sealed record ModelDescription
{
    /// <summary>Served name.</summary>
    [Id(0)] public required string Name { get; init; }

    /// <summary>Folder of the checkpoint.</summary>
    [Id(1)] public required string Path { get; init; }

    /// <summary>Digest of configuration and tensor index.</summary>
    [Id(2)] public required string Fingerprint { get; init; }

    /// <summary>Longest sequence in tokens.</summary>
    [Id(3)] public required int MaxModelLength { get; init; }

    /// <summary>model_type of config.json.</summary>
    [Id(4)] public required string Architecture { get; init; }

    /// <summary>Whether text can be served (a tokenizer is there).</summary>
    [Id(5)] public bool HasTokenizer { get; init; }

    /// <summary>When it was declared, Unix seconds.</summary>
    [Id(6)] public long Created { get; init; }

    /// <summary>Parameters of the checkpoint.</summary>
    [Id(7)] public long Parameters { get; init; }

    /// <summary>Stored weights: the checkpoint's element types, or how they were quantised at load.</summary>
    [Id(8)] public string? Weights { get; init; }
}

/// <summary>A replica and its shards.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ReplicaDescription")]
public sealed record ReplicaDescription
{
    /// <summary>Grain key of the replica: model/index.</summary>
    [Id(0)] public required string Key { get; init; }

    /// <summary>Served model name.</summary>
    [Id(1)] public required string Model { get; init; }

    /// <summary>Fencing epoch: every plan carries it.</summary>
    [Id(2)] public required long Epoch { get; init; }

    /// <summary>Shards in rank order.</summary>
    [Id(3)] public required ImmutableArray<ShardDescription> Shards { get; init; }

    /// <summary>Load, as last reported.</summary>
    [Id(4)] public ReplicaLoad Load { get; init; } = new();
}

/// <summary>A shard and the device that holds it.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ShardDescription")]
public sealed record ShardDescription(
    [property: Id(0)] string Key,
    [property: Id(1)] string Silo,
    [property: Id(2)] string Device,
    [property: Id(3)] int Rank);

/// <summary>Load of a replica.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ReplicaLoad")]
public sealed record ReplicaLoad
{
    /// <summary>Sequences that hold blocks.</summary>
    [Id(0)] public int Running { get; init; }

    /// <summary>Sequences in the queue.</summary>
    [Id(1)] public int Waiting { get; init; }

    /// <summary>Share of KV blocks in use, 0..1.</summary>
    [Id(2)] public double KvUsage { get; init; }

    /// <summary>KV blocks in all.</summary>
    [Id(3)] public int Blocks { get; init; }

    /// <summary>Tokens generated since the replica started.</summary>
    [Id(4)] public long GeneratedTokens { get; init; }

    /// <summary>Whether the replica is loaded and makes progress.</summary>
    [Id(5)] public bool Ready { get; init; }
}
