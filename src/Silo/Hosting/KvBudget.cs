using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>Size of a shard's KV cache and the longest sequence it allows.</summary>
/// <param name="Bytes">Whole blocks, in bytes.</param>
/// <param name="Tokens">Tokens they hold.</param>
/// <param name="MaxModelLength">Longest sequence, in tokens.</param>
internal sealed record KvBudget(long Bytes, long Tokens, int MaxModelLength)
{
    // A demonstration must not take the machine: more is asked for with --kv-cache-memory-bytes.
    private const long DefaultLimit = 2L << 30;

    /// <summary>
    /// The budget: as given, else a quarter of the model's part of free memory, at most 2 GiB and at most what
    /// --max-num-seqs sequences of the longest length need.
    /// </summary>
    /// <exception cref="StartFailedException">--max-model-len is more than the model or the cache allows.</exception>
    public static KvBudget For(ClusterOptions options, ModelConfig config, DType kvType, ModelLayout layout, long freeBytes)
    {
        long blockBytes = LargestShardsBlock(options, config, kvType, layout);
        if (options.MaxModelLen > config.ContextLength)
            throw new StartFailedException($"--max-model-len: must be at most {config.ContextLength}, the model's context, got {options.MaxModelLen}");
        int wanted = options.MaxModelLen ?? config.ContextLength;
        long blocksPerSequence = (wanted + options.BlockSize - 1L) / options.BlockSize;
        long needed = blocksPerSequence * blockBytes * options.MaxNumSeqs;
        long bytes = options.KvCacheMemoryBytes ?? Math.Min(Math.Min(freeBytes / 4, DefaultLimit), needed);
        long blocks = bytes / blockBytes;
        if (blocks < 1)
            throw new StartFailedException($"--kv-cache-memory-bytes: must be at least {blockBytes}, one block of {options.BlockSize} tokens, got {bytes}");
        long tokens = blocks * options.BlockSize;
        if (options.MaxModelLen > tokens)
        {
            throw new StartFailedException(
                $"--max-model-len: {options.MaxModelLen} tokens need {ByteSize.Format(blocksPerSequence * blockBytes)} of KV cache, there are {ByteSize.Format(bytes)} ({tokens} tokens); lower it or raise --kv-cache-memory-bytes");
        }
        return new KvBudget(blocks * blockBytes, tokens, (int)Math.Min(wanted, tokens));
    }

    // Of all shards of a replica the one with most layers and heads has room for fewest tokens.
    private static long LargestShardsBlock(ClusterOptions options, ModelConfig config, DType kvType, ModelLayout layout)
    {
        int layers = (config.Layers.Count + layout.PipelineParallelSize - 1) / layout.PipelineParallelSize;
        int heads = (config.KvHeads + layout.TensorParallelSize - 1) / layout.TensorParallelSize;
        return new KvCacheShape(layers, 1, options.BlockSize, heads, config.HeadDim, kvType).BlockBytes;
    }
}
