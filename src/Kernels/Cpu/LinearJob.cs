using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>One y = x Wᵀ of a region.</summary>
internal unsafe struct LinearJob
{
    /// <summary>Segments of K in <see cref="LinearRole.RowParallel"/>: ranks of 1, 2, 4 and 8 hold whole segments.</summary>
    public const int RowParallelSegments = 8;

    /// <summary>Floating-point panels, unless <see cref="Blocks"/> has a kind.</summary>
    public PanelView Weight;
    public DType Type;

    /// <summary>Quantised panels.</summary>
    public BlockView Blocks;

    /// <summary>The input rows, quantised, when the weights are.</summary>
    public RowBlocks XBlocks;

    public LinearRole Role;

    /// <summary>One per output, or null.</summary>
    public float* Bias;

    public float* X;
    public long XStride;
    public int Rows;
    public float* Y;
    public long YStride;

    /// <summary>Adds to y instead of setting it.</summary>
    public bool Add;

    public readonly int Segments => Role == LinearRole.RowParallel ? RowParallelSegments : 1;

    /// <summary>
    /// First pair of segment <paramref name="segment"/>. The pairs of K (the last may hold a single k) are split evenly,
    /// fractions rounded down, so K a multiple of 16 gives equal segments, which are the segments of K / ranks as well.
    /// </summary>
    public readonly int SegmentStart(int segment) => (int)((long)segment * ((Weight.Inputs + 1) / 2) / Segments);

    /// <summary>Inputs, outputs and weights at once: multiply-adds.</summary>
    public readonly long Work => Blocks.Kind == BlockKind.None ? (long)Rows * Weight.Inputs * Weight.Outputs : (long)Rows * Blocks.Inputs * Blocks.Outputs;
}

/// <summary>How a region of equally shaped jobs is cut into chunks: job by job, rows by rows, outputs by outputs.</summary>
internal unsafe struct LinearRegion
{
    public LinearJob* Jobs;
    public int VectorsPerChunk;
    public int VectorChunks;
    public int RowsPerChunk;
    public int RowChunks;

    /// <summary>Scratch of the threads.</summary>
    public byte* Scratch;
    public long ScratchStride;
}
