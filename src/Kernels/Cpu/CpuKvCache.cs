using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Paged keys and values, fp32, bf16 or int8. A block of a layer is one stretch of memory that a thread reads from front
/// to back: the keys of all heads, the values of all heads, the factors (int8). Keys of a head: groups of 16 slots, each
/// [pairs of elements, 16 slots]; lanes are keys. Values of a head: [pairs of slots, groups of 16 elements]; lanes are
/// elements. Neither score nor output then sums across lanes. Factors of a head: of keys, then of values, one float per
/// slot. Slots and head elements are padded to 16 in memory.
/// </summary>
internal sealed unsafe class CpuKvCache : KvCache
{
    private readonly NativeBlock _memory;

    public CpuKvCache(KvCacheShape shape) : base(shape)
    {
        if (shape.Type is not (DType.Float32 or DType.BFloat16 or DType.Int8))
            throw new ArgumentException($"Keys and values are kept as Float32, BFloat16 or Int8, not {shape.Type}.");
        if (shape.Layers <= 0 || shape.Blocks <= 0 || shape.BlockSize <= 0 || shape.KvHeads <= 0 || shape.HeadDim <= 0)
            throw new ArgumentException($"A KV cache needs positive sizes: {shape}.");
        if (shape.Type != DType.Float32 && shape.BlockSize % 2 != 0)
            throw new ArgumentException($"A {shape.Type} KV cache needs an even block size, not {shape.BlockSize}.");
        Layout = KvLayout.For(shape);
        _memory = new NativeBlock((long)shape.Layers * shape.Blocks * Layout.BlockBytes, zeroed: true);
    }

    /// <summary>Where things lie in a block.</summary>
    public KvLayout Layout { get; }

    /// <summary>First block of a layer.</summary>
    public byte* Layer(int layer)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)layer, (uint)Shape.Layers);
        return _memory.Pointer + ((long)layer * Shape.Blocks * Layout.BlockBytes);
    }

    public override void Dispose() => _memory.Dispose();
}

/// <summary>Distances inside a block of a <see cref="CpuKvCache"/>, in bytes.</summary>
/// <param name="KeyGroupBytes">16 keys of a head.</param>
/// <param name="KeyHeadBytes">A head's keys.</param>
/// <param name="ValuePairBytes">Two values of a head.</param>
/// <param name="ValueHeadBytes">A head's values.</param>
/// <param name="ValueOffset">First value.</param>
/// <param name="FactorHeadBytes">A head's factors of keys, or of values.</param>
/// <param name="FactorOffset">First factor.</param>
/// <param name="BlockBytes">The whole block.</param>
internal readonly record struct KvLayout(
    long KeyGroupBytes, long KeyHeadBytes, long ValuePairBytes, long ValueHeadBytes, long ValueOffset, long FactorHeadBytes, long FactorOffset, long BlockBytes)
{
    private const int CacheLine = 64;

    public static KvLayout For(KvCacheShape shape)
    {
        long pairBytes = shape.Type switch
        {
            DType.Float32 => Float32Panel.PairBytes,
            DType.BFloat16 => BFloat16Panel.PairBytes,
            _ => Int8Kv.PairBytes,
        };
        long slotGroups = (shape.BlockSize + PanelView.Width - 1) / PanelView.Width;
        long keyGroup = (shape.HeadDim + 1) / 2 * pairBytes;
        long keyHead = Lines(slotGroups * keyGroup);
        long valuePair = (shape.HeadDim + PanelView.Width - 1) / PanelView.Width * pairBytes;
        long valueHead = Lines((shape.BlockSize + 1) / 2 * valuePair);
        long factors = shape.Type == DType.Int8 ? slotGroups * PanelView.Width * sizeof(float) : 0;
        long valueOffset = shape.KvHeads * keyHead, factorOffset = valueOffset + (shape.KvHeads * valueHead);
        return new KvLayout(keyGroup, keyHead, valuePair, valueHead, valueOffset, factors, factorOffset, factorOffset + (2 * shape.KvHeads * factors));
    }

    private static long Lines(long bytes) => (bytes + CacheLine - 1) / CacheLine * CacheLine;
}
