using System.Globalization;
using Cluster.Kernels.Models;

namespace Cluster.Kernels.Execution;

/// <summary>What a shard will allocate, checked against spec, model and machine before anything is.</summary>
/// <param name="Device">The device.</param>
/// <param name="CacheShape">Sizes of the KV cache.</param>
/// <param name="TotalBytes">KV cache, workspace and rotary tables.</param>
internal sealed record ShardMemory(DeviceId Device, KvCacheShape CacheShape, long TotalBytes)
{
    /// <summary>Computes and checks the sizes.</summary>
    /// <exception cref="ShardSpecException">A value of the spec is out of range for this model.</exception>
    /// <exception cref="DeviceMemoryException">It is more than the process may use.</exception>
    public static ShardMemory For(ShardSpec spec, ModelConfig config, ShardPart part)
    {
        Within(nameof(spec.MaxModelLength), spec.MaxModelLength, 1, config.ContextLength);
        Within(nameof(spec.MaxBatchedTokens), spec.MaxBatchedTokens, 1, 1 << 20);
        Within(nameof(spec.MaxSequences), spec.MaxSequences, 1, spec.MaxBatchedTokens);
        Within(nameof(spec.BlockSize), spec.BlockSize, 1, 4096);
        if (spec.KvType != DType.Float32 && spec.BlockSize % 2 != 0)
            throw new ShardSpecException(nameof(spec.BlockSize), $"even for a KV cache of {spec.KvType}", Text(spec.BlockSize));
        // float32 elements that one managed table may have
        Within(nameof(spec.MaxModelLength), spec.MaxModelLength, 1, Array.MaxLength / (config.HeadDim / 2));
        var block = new KvCacheShape(part.Layers.Count, 1, spec.BlockSize, part.Tensor.KvHeads.Count, config.HeadDim, spec.KvType);
        long blocks = Math.Min(spec.KvCacheBytes / block.BlockBytes, int.MaxValue / spec.BlockSize);
        if (blocks < 1)
            throw new ShardSpecException(nameof(spec.KvCacheBytes), $"at least {block.BlockBytes}, one block of {spec.BlockSize} tokens", Text(spec.KvCacheBytes));
        KvCacheShape shape = block with { Blocks = (int)blocks };
        long rotary = 2L * sizeof(float) * spec.MaxModelLength * (config.HeadDim / 2);
        var memory = new ShardMemory(spec.Device, shape, blocks * block.BlockBytes + rotary + DecoderWorkspace.BytesFor(config, part, spec.MaxBatchedTokens));
        return spec.Device.Kind != "cpu" || memory.TotalBytes <= HostBytes ? memory : throw memory.Exhausted(null);
    }

    /// <summary>An error about these sizes.</summary>
    public DeviceMemoryException Exhausted(Exception? cause) =>
        new(Device, $"a KV cache of {CacheShape.Blocks} blocks, workspace and weights", TotalBytes, HostBytes, cause);

    // Honours the limit of a container.
    private static long HostBytes => GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    private static void Within(string field, long value, long minimum, long maximum)
    {
        if (value < minimum || value > maximum)
            throw new ShardSpecException(field, $"{minimum}..{maximum}", Text(value));
    }

    private static string Text(long value) => value.ToString(CultureInfo.InvariantCulture);
}
