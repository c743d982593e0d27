using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Execution;

/// <summary>The door of this assembly: one shard of one model, loaded on one device.</summary>
public interface IShardEngine : IAsyncDisposable
{
    /// <summary>What was loaded.</summary>
    ShardSpec Spec { get; }

    /// <summary>Blocks of the KV cache.</summary>
    int BlockCount { get; }

    /// <summary>Tokens per block.</summary>
    int BlockSize { get; }

    /// <summary>
    /// Gives the shard its place among the shards of its replica for the steps that are asked for from now on; steps that already wait keep
    /// the group they were asked for with. Of P stages with T tensor ranks each, stage s and tensor rank t is rank s * T + t. The group stays
    /// its opener's to close. Null: no step of a replica of several shards can run.
    /// </summary>
    /// <exception cref="ShardSpecException">The group is another size, or this shard has another rank in it.</exception>
    /// <exception cref="ProcessGroupException">The group has failed already.</exception>
    void Join(IProcessGroup? group);

    /// <summary>
    /// Runs one step on the device's thread. Steps run in the order of the calls. The shards of a replica are all given the same batches in
    /// the same order, of block ids that all of them have; rank 0 of the last stage answers with the results, the others with
    /// <see cref="ForwardOutput.Empty"/>.
    /// </summary>
    /// <exception cref="ArgumentException">The batch does not fit the shard.</exception>
    /// <exception cref="ProcessGroupException">A shard of the replica failed or was lost: the step failed on all of them, and so will every other one with this group.</exception>
    /// <exception cref="InvalidOperationException">The replica has several shards, and this one has joined no group.</exception>
    Task<ForwardOutput> ExecuteAsync(ForwardBatch batch);
}

/// <summary>What one shard holds and how large its workspace is.</summary>
public sealed record ShardSpec
{
    /// <summary>Folder of the checkpoint, or its GGUF file.</summary>
    public required string ModelFolder { get; init; }

    /// <summary>Device that holds the shard.</summary>
    public required DeviceId Device { get; init; }

    /// <summary>Stored weight type; null keeps the checkpoint's.</summary>
    public DType? WeightType { get; init; }

    /// <summary>How linear weights are quantised at load.</summary>
    public WeightQuantization Quantization { get; init; }

    /// <summary>Stored type of keys and values.</summary>
    public DType KvType { get; init; } = DType.Float32;

    /// <summary>Longest sequence, in tokens.</summary>
    public required int MaxModelLength { get; init; }

    /// <summary>Most rows of one step.</summary>
    public required int MaxBatchedTokens { get; init; }

    /// <summary>Most sequences of one step.</summary>
    public required int MaxSequences { get; init; }

    /// <summary>Bytes of KV cache. Shards of a replica may get different numbers of blocks out of it: the least of them counts for all.</summary>
    public required long KvCacheBytes { get; init; }

    /// <summary>Tokens per KV block. Default 16, vLLM's usual value.</summary>
    public int BlockSize { get; init; } = 16;

    /// <summary>Rank and number of ranks in the tensor-parallel group: up to the number of query heads.</summary>
    public (int Rank, int Size) TensorParallel { get; init; } = (0, 1);

    /// <summary>Stage and number of stages in the pipeline: up to the number of layers.</summary>
    public (int Stage, int Size) Pipeline { get; init; } = (0, 1);
}
