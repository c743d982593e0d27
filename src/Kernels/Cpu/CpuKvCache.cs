using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Paged keys and values, fp32 or bf16, as panels like the weights, so that attention is the same register tile.
/// Keys of one block and head: groups of 16 slots, each [pairs of elements, 16 slots]; lanes are keys. Values: groups of 16
/// elements, each [pairs of slots, 16 elements]; lanes are elements. Neither score nor output then sums across lanes.
/// Slots and head elements are padded to 16 in memory.
/// </summary>
internal sealed unsafe class CpuKvCache : KvCache
{
    private readonly NativeBlock _keys;
    private readonly NativeBlock _values;

    public CpuKvCache(KvCacheShape shape) : base(shape)
    {
        if (shape.Type is not (DType.Float32 or DType.BFloat16))
            throw new ArgumentException($"Keys and values are kept as Float32 or BFloat16, not {shape.Type}.");
        if (shape.Layers <= 0 || shape.Blocks <= 0 || shape.BlockSize <= 0 || shape.KvHeads <= 0 || shape.HeadDim <= 0)
            throw new ArgumentException($"A KV cache needs positive sizes: {shape}.");
        if (shape.Type == DType.BFloat16 && shape.BlockSize % 2 != 0)
            throw new ArgumentException($"A bf16 KV cache needs an even block size, not {shape.BlockSize}.");
        int pairBytes = PanelMatrix.PairBytes(shape.Type);
        int slotGroups = (shape.BlockSize + PanelView.Width - 1) / PanelView.Width;
        KeyGroupBytes = (shape.HeadDim + 1) / 2 * (long)pairBytes;
        KeyHeadBytes = slotGroups * KeyGroupBytes;
        ValueGroupBytes = slotGroups * PanelView.Width / 2 * (long)pairBytes;
        ValueGroups = (shape.HeadDim + PanelView.Width - 1) / PanelView.Width;
        ValueHeadBytes = ValueGroups * ValueGroupBytes;
        long heads = (long)shape.Layers * shape.Blocks * shape.KvHeads;
        _keys = new NativeBlock(heads * KeyHeadBytes, zeroed: true);
        _values = new NativeBlock(heads * ValueHeadBytes, zeroed: true);
    }

    /// <summary>Bytes of 16 keys of a head.</summary>
    public long KeyGroupBytes { get; }

    /// <summary>Bytes of a head's keys in a block.</summary>
    public long KeyHeadBytes { get; }

    /// <summary>Bytes of 16 elements of a head's values in a block.</summary>
    public long ValueGroupBytes { get; }

    /// <summary>Groups of 16 elements of a value.</summary>
    public int ValueGroups { get; }

    /// <summary>Bytes of a head's values in a block.</summary>
    public long ValueHeadBytes { get; }

    /// <summary>Keys of a layer, [blocks, kvHeads] of <see cref="KeyHeadBytes"/>.</summary>
    public byte* Keys(int layer) => _keys.Pointer + (LayerHeads(layer) * KeyHeadBytes);

    /// <summary>Values of a layer, [blocks, kvHeads] of <see cref="ValueHeadBytes"/>.</summary>
    public byte* Values(int layer) => _values.Pointer + (LayerHeads(layer) * ValueHeadBytes);

    public override void Dispose()
    {
        _keys.Dispose();
        _values.Dispose();
    }

    private long LayerHeads(int layer)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)layer, (uint)Shape.Layers);
        return (long)layer * Shape.Blocks * Shape.KvHeads;
    }
}
