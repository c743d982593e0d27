using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Paged keys and values, fp32 or bf16. Values lie as [layer, block, kvHead, slot, headDim]. Keys lie transposed within
/// groups of up to 16 slots, [layer, block, kvHead, group, headDim, lane], so that one vector holds the same element of
/// neighbouring keys: scores then need no horizontal sums, and each is one chain of FMAs by ascending element.
/// </summary>
internal sealed unsafe class CpuKvCache : KvCache
{
    private readonly NativeBlock _memory;

    public CpuKvCache(KvCacheShape shape) : base(shape)
    {
        if (shape.Type is not (DType.Float32 or DType.BFloat16))
            throw new ArgumentException($"Keys and values are kept as Float32 or BFloat16, not {shape.Type}.");
        if (shape.Layers <= 0 || shape.Blocks <= 0 || shape.BlockSize <= 0 || shape.KvHeads <= 0 || shape.HeadDim <= 0)
            throw new ArgumentException($"A KV cache needs positive sizes: {shape}.");
        Lanes = LanesFor(shape.BlockSize);
        _memory = new NativeBlock(shape.BlockBytes * shape.Blocks, zeroed: true);
        ElementBytes = shape.Type.ByteSize();
        HeadBytes = (long)shape.BlockSize * shape.HeadDim * ElementBytes;
        BlockBytes = HeadBytes * shape.KvHeads;
        LayerBytes = BlockBytes * shape.Blocks;
    }

    /// <summary>Keys per transposed group: the largest power of two up to 16 that divides the block size.</summary>
    public int Lanes { get; }

    public int ElementBytes { get; }

    /// <summary>Bytes of one head's keys (or values) in one block.</summary>
    public long HeadBytes { get; }

    /// <summary>Bytes of one block's keys (or values) in one layer.</summary>
    public long BlockBytes { get; }

    private long LayerBytes { get; }

    /// <summary>Keys of a layer.</summary>
    public byte* Keys(int layer) => _memory.Pointer + (layer * LayerBytes);

    /// <summary>Values of a layer.</summary>
    public byte* Values(int layer) => _memory.Pointer + ((Shape.Layers + layer) * LayerBytes);

    public override void Dispose() => _memory.Dispose();

    private static int LanesFor(int blockSize)
    {
        int lanes = 16;
        while (blockSize % lanes != 0)
            lanes /= 2;
        return lanes;
    }
}
