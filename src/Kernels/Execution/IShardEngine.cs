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

    /// <summary>Runs one step on the device's thread. Steps run in the order of the calls.</summary>
    /// <exception cref="ArgumentException">The batch does not fit the shard.</exception>
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

    /// <summary>Bytes of KV cache.</summary>
    public required long KvCacheBytes { get; init; }

    /// <summary>Tokens per KV block. Default 16, vLLM's usual value.</summary>
    public int BlockSize { get; init; } = 16;

    /// <summary>Rank and number of ranks in the tensor-parallel group.</summary>
    public (int Rank, int Size) TensorParallel { get; init; } = (0, 1);

    /// <summary>Stage and number of stages in the pipeline.</summary>
    public (int Stage, int Size) Pipeline { get; init; } = (0, 1);
}
