using Cluster.Kernels.Execution;
using static TorchSharp.torch;

namespace Cluster.Kernels.Torch;

/// <summary>A matrix kept as a tensor [rows, columns].</summary>
internal sealed class TorchBuffer(int rows, int columns, DType type, Device device) : DeviceBuffer(rows, columns, type)
{
    public Tensor Tensor { get; } = zeros(rows, columns, TorchTensors.ScalarTypeOf(type), device).DetachFromDisposeScope();

    public override void Dispose() => Tensor.Dispose();
}

/// <summary>A fp32 vector [length].</summary>
internal sealed class TorchVector(HostTensor source, Device device) : VectorWeight(checked((int)source.Length))
{
    public Tensor Tensor { get; } = TorchTensors.FromHost([source], type: null, device, source.Length);

    public override void Dispose() => Tensor.Dispose();
}

/// <summary>Embedding rows, read where the checkpoint is mapped.</summary>
internal sealed class TorchEmbedding(HostTensor source) : EmbeddingTable(source.Rows, source.Columns)
{
    public HostTensor Source { get; } = source;

    public override void Dispose()
    {
    }
}

/// <summary>Cosines and sines, [positions, dimensions / 2] each.</summary>
internal sealed class TorchRotary : RotaryTable
{
    public TorchRotary(ReadOnlySpan<float> cosines, ReadOnlySpan<float> sines, int dimensions, Device device)
    {
        if (dimensions <= 0 || dimensions % 2 != 0)
            throw new ArgumentException($"Rotary dimensions must be even and positive, not {dimensions}.");
        if (cosines.Length != sines.Length || cosines.Length % (dimensions / 2) != 0)
            throw new ArgumentException($"Rotary tables of {cosines.Length} and {sines.Length} values do not fit {dimensions} dimensions.");
        Half = dimensions / 2;
        Cosines = TorchTensors.FromValues(cosines, cosines.Length / Half, Half, device);
        Sines = TorchTensors.FromValues(sines, cosines.Length / Half, Half, device);
    }

    /// <summary>Pairs per head that turn.</summary>
    public int Half { get; }

    public Tensor Cosines { get; }

    public Tensor Sines { get; }

    public override void Dispose()
    {
        Cosines.Dispose();
        Sines.Dispose();
    }
}

/// <summary>Paged keys and values, per layer [blocks * blockSize, kvHeads, headDim].</summary>
internal sealed class TorchKvCache : KvCache
{
    private readonly Tensor[] _keys;
    private readonly Tensor[] _values;

    public TorchKvCache(KvCacheShape shape, Device device) : base(shape)
    {
        if (shape.Type is not (DType.Float32 or DType.BFloat16))
            throw new ArgumentException($"Keys and values are kept as Float32 or BFloat16, not {shape.Type}.");
        if (shape.Layers <= 0 || shape.Blocks <= 0 || shape.BlockSize <= 0 || shape.KvHeads <= 0 || shape.HeadDim <= 0)
            throw new ArgumentException($"A KV cache needs positive sizes: {shape}.");
        Tensor Layer() => zeros([(long)shape.Blocks * shape.BlockSize, shape.KvHeads, shape.HeadDim],
            TorchTensors.ScalarTypeOf(shape.Type), device).DetachFromDisposeScope();
        _keys = [.. Enumerable.Range(0, shape.Layers).Select(_ => Layer())];
        _values = [.. Enumerable.Range(0, shape.Layers).Select(_ => Layer())];
    }

    public Tensor Keys(int layer) => _keys[layer];

    public Tensor Values(int layer) => _values[layer];

    public override void Dispose()
    {
        foreach (Tensor tensor in _keys.Concat(_values))
            tensor.Dispose();
    }
}

/// <summary>Chosen experts by ascending id, and their factors.</summary>
internal sealed class TorchRouting(int maxRows, int topK) : ExpertRouting(maxRows, topK)
{
    /// <summary>[rows * topK], ascending within a row.</summary>
    public long[] Experts { get; set; } = [];

    /// <summary>[rows * topK].</summary>
    public float[] Factors { get; set; } = [];

    public override void Dispose()
    {
    }
}

/// <summary>The index arrays of a batch as int64 tensors.</summary>
internal sealed class TorchBatch : DeviceBatch, IDisposable
{
    private readonly Device _device;
    private int[] _slots = [];

    public TorchBatch(ForwardBatch batch, Device device)
    {
        Batch = batch;
        _device = device;
        Positions = TorchTensors.Indices(batch.Positions.AsSpan(0, batch.Rows), device);
        Slots = TorchTensors.Indices(batch.SlotMapping.AsSpan(0, batch.Rows), device);
    }

    public override ForwardBatch Batch { get; }

    public Tensor Positions { get; }

    public Tensor Slots { get; }

    /// <summary>Cache slots of the first <paramref name="tokens"/> positions of a sequence, [tokens]; the caller's to dispose.</summary>
    public Tensor SlotsOf(int sequence, int tokens, int blockSize)
    {
        if (_slots.Length < tokens)
            _slots = new int[2 * tokens];
        ReadOnlySpan<int> blocks = Batch.BlockTable.AsSpan(Batch.BlockStarts[sequence]);
        for (int position = 0; position < tokens; position++)
            _slots[position] = blocks[position / blockSize] * blockSize + position % blockSize;
        return TorchTensors.Indices(_slots.AsSpan(0, tokens), _device);
    }

    public void Dispose()
    {
        Positions.Dispose();
        Slots.Dispose();
    }
}
