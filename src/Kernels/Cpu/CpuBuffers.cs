using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>A row-major matrix in native memory.</summary>
internal sealed unsafe class CpuBuffer(int rows, int columns, DType type) : DeviceBuffer(rows, columns, type)
{
    private readonly NativeBlock _memory = new((long)rows * columns * type.ByteSize(), zeroed: true);

    /// <summary>First element of a fp32 buffer.</summary>
    public float* Floats => Type == DType.Float32
        ? (float*)_memory.Pointer
        : throw new ArgumentException($"A fp32 buffer is needed, this one is {Type}.");

    /// <summary>First byte.</summary>
    public byte* Bytes => _memory.Pointer;

    public override void Dispose() => _memory.Dispose();
}

/// <summary>A fp32 vector in native memory.</summary>
internal sealed unsafe class CpuVector : VectorWeight
{
    private readonly NativeBlock _memory;

    public CpuVector(HostTensor source) : base(checked((int)source.Length))
    {
        _memory = new NativeBlock(Length * 4L, zeroed: false);
        for (int row = 0; row < source.Rows; row++)
            source.ReadRow(row, new Span<float>(Floats + ((long)row * source.Columns), source.Columns));
    }

    public float* Floats => (float*)_memory.Pointer;

    public override void Dispose() => _memory.Dispose();
}

/// <summary>Embedding rows, read where the checkpoint is mapped.</summary>
internal sealed class CpuEmbedding(HostTensor source) : EmbeddingTable(source.Rows, source.Columns)
{
    public HostTensor Source { get; } = source;

    public override void Dispose()
    {
    }
}

/// <summary>Cosines and sines, [positions, dimensions / 2] each, cosines first.</summary>
internal sealed unsafe class CpuRotary : RotaryTable
{
    private readonly NativeBlock _memory;

    public CpuRotary(ReadOnlySpan<float> cosines, ReadOnlySpan<float> sines, int dimensions)
    {
        if (dimensions <= 0 || dimensions % 2 != 0)
            throw new ArgumentException($"Rotary dimensions must be even and positive, not {dimensions}.");
        if (cosines.Length != sines.Length || cosines.Length % (dimensions / 2) != 0)
            throw new ArgumentException($"Rotary tables of {cosines.Length} and {sines.Length} values do not fit {dimensions} dimensions.");
        Half = dimensions / 2;
        Positions = cosines.Length / Half;
        _memory = new NativeBlock(8L * cosines.Length, zeroed: false);
        cosines.CopyTo(new Span<float>(Cosines, cosines.Length));
        sines.CopyTo(new Span<float>(Sines, sines.Length));
    }

    /// <summary>Pairs per head that turn.</summary>
    public int Half { get; }

    public int Positions { get; }

    public float* Cosines => (float*)_memory.Pointer;

    public float* Sines => Cosines + ((long)Positions * Half);

    public override void Dispose() => _memory.Dispose();
}

/// <summary>Chosen experts by ascending id, and their factors.</summary>
internal sealed unsafe class CpuRouting(int maxRows, int topK) : ExpertRouting(maxRows, topK)
{
    private readonly NativeBlock _memory = new(8L * maxRows * topK, zeroed: true);

    /// <summary>[maxRows, topK], ascending within a row.</summary>
    public int* Experts => (int*)_memory.Pointer;

    /// <summary>[maxRows, topK].</summary>
    public float* Factors => (float*)(_memory.Pointer + (4L * MaxRows * TopK));

    /// <summary>Experts that were routed over.</summary>
    public int ExpertCount { get; set; }

    public override void Dispose() => _memory.Dispose();
}
