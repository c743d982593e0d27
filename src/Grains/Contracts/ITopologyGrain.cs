using System.Collections.Immutable;

namespace Cluster.Contracts;

/// <summary>The versioned truth: silos, devices, models, replicas, shards. One grain, key 0.</summary>
[Alias("Cluster.ITopologyGrain")]
public interface ITopologyGrain : IGrainWithIntegerKey
{
    /// <summary>The current topology.</summary>
    [Alias("Get")]
    Task<ClusterTopology> Get(CancellationToken cancellationToken);

    /// <summary>Changes how many replicas a model has and over how many shards; returns when it is declared, not when it is done.</summary>
    /// <exception cref="RequestRejectedException">The model is not declared, or a value is outside its limits.</exception>
    [Alias("Scale")]
    Task<ModelDeclaration> Scale(string model, [Immutable] ModelScale scale);

    /// <summary>Moves all shards of a silo elsewhere and gives it no more, or (with false) lets it take part again. A restarted silo takes part.</summary>
    /// <exception cref="RequestRejectedException">There is no such silo.</exception>
    [Alias("Drain")]
    Task<SiloDescription> Drain(string silo, bool draining);
}

/// <summary>What the cluster was told to serve: a model, and in which form. The topology brings the replicas into line with it.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ModelDeclaration")]
public sealed record ModelDeclaration
{
    /// <summary>The model.</summary>
    [Id(0)] public required ModelDescription Description { get; init; }

    /// <summary>Shards of each replica.</summary>
    [Id(1)] public required ModelLayout Layout { get; init; }

    /// <summary>Replicas; null = as many as there are devices for.</summary>
    [Id(2)] public int? Replicas { get; init; }

    /// <summary>Stored weight type: auto, float32, bfloat16, float16.</summary>
    [Id(3)] public required string Dtype { get; init; }

    /// <summary>Quantisation at load: none, int8, int4.</summary>
    [Id(4)] public required string Quantization { get; init; }

    /// <summary>Stored KV type: auto (float32), bfloat16, int8.</summary>
    [Id(5)] public required string KvCacheDtype { get; init; }

    /// <summary>How tokens are guessed ahead; null = they are not.</summary>
    [Id(6)] public SpeculativeConfig? Speculation { get; init; }
}

/// <summary>How a replica is cut: layers over pipeline stages, each stage's heads and columns over tensor ranks. Rank = stage * tensor size + tensor rank.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ModelLayout")]
public sealed record ModelLayout(
    [property: Id(0)] int TensorParallelSize,
    [property: Id(1)] int PipelineParallelSize)
{
    /// <summary>One shard.</summary>
    public static ModelLayout Single { get; } = new(1, 1);

    /// <summary>Shards of a replica.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public int Shards => TensorParallelSize * PipelineParallelSize;
}

/// <summary>A change of a model's scale; what is null stays as it is.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ModelScale")]
public sealed record ModelScale
{
    /// <summary>Replicas, from 0 (the model stays listed and the first request wakes it).</summary>
    [Id(0)] public int? Replicas { get; init; }

    /// <summary>As many replicas as there are devices for.</summary>
    [Id(1)] public bool FillDevices { get; init; }

    /// <summary>Tensor ranks of a replica.</summary>
    [Id(2)] public int? TensorParallelSize { get; init; }

    /// <summary>Pipeline stages of a replica.</summary>
    [Id(3)] public int? PipelineParallelSize { get; init; }
}

/// <summary>Snapshot of the cluster.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ClusterTopology")]
public sealed record ClusterTopology(
    [property: Id(0)] long Version,
    [property: Id(1)] ImmutableArray<SiloDescription> Silos,
    [property: Id(2)] ImmutableArray<ModelDescription> Models,
    [property: Id(3)] ImmutableArray<ReplicaDescription> Replicas)
{
    /// <summary>What was asked for, model by model; the order of <see cref="Models"/>.</summary>
    [Id(4)] public ImmutableArray<ModelDeclaration> Declarations { get; init; } = [];
}

/// <summary>A silo and its devices.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SiloDescription")]
public sealed record SiloDescription(
    [property: Id(0)] string Name,
    [property: Id(1)] ImmutableArray<string> Devices,
    [property: Id(2)] string HttpUrl)
{
    /// <summary>Where its shards take connections of their peers, address:port; null when it takes none.</summary>
    [Id(3)] public string? MeshEndpoint { get; init; }

    /// <summary>Whether it is being emptied.</summary>
    [Id(4)] public bool IsDraining { get; init; }
}

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

    /// <summary>Query heads: the most tensor ranks there can be.</summary>
    [Id(9)] public int QueryHeads { get; init; }

    /// <summary>Layers: the most pipeline stages there can be.</summary>
    [Id(10)] public int Layers { get; init; }
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
    [property: Id(3)] int Rank)
{
    /// <summary>How far it is.</summary>
    [Id(4)] public ShardState State { get; init; } = ShardState.Ready;

    /// <summary>Why it could not be loaded, or null.</summary>
    [Id(5)] public string? Problem { get; init; }
}

/// <summary>How far a shard is. Append-only.</summary>
[GenerateSerializer, Alias("Cluster.ShardState")]
public enum ShardState
{
    /// <summary>Loaded.</summary>
    Ready = 0,

    /// <summary>Planned, or being loaded.</summary>
    Loading = 1,

    /// <summary>It could not be loaded.</summary>
    Failed = 2,
}

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

    /// <summary>Guesses that were verified, and how far they held; null when the replica does not guess.</summary>
    [Id(6)] public SpeculationLoad? Speculation { get; init; }
}

/// <summary>What became of a replica's guesses since it started.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SpeculationLoad")]
public sealed record SpeculationLoad
{
    /// <summary>Guesses of one or more tokens that were verified.</summary>
    [Id(0)] public long Drafts { get; init; }

    /// <summary>Tokens in them.</summary>
    [Id(1)] public long DraftTokens { get; init; }

    /// <summary>Tokens that were right, by place in the guess from the first.</summary>
    [Id(2)] public ImmutableArray<long> AcceptedPerPosition { get; init; } = [];
}
