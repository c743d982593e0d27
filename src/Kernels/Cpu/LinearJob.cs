using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>One y = x Wᵀ of a region.</summary>
internal unsafe struct LinearJob
{
    /// <summary>Floating-point panels, unless <see cref="Blocks"/> has a kind.</summary>
    public PanelView Weight;
    public DType Type;

    /// <summary>Quantised panels.</summary>
    public BlockView Blocks;

    /// <summary>The input rows, quantised, when the weights are.</summary>
    public RowBlocks XBlocks;

    /// <summary>Segments of K: 1, or in <see cref="LinearRole.RowParallel"/> 8 over the ranks.</summary>
    public int Segments;

    /// <summary>One per output, or null.</summary>
    public float* Bias;

    public float* X;
    public long XStride;
    public int Rows;
    public float* Y;
    public long YStride;

    /// <summary>Adds to y instead of setting it.</summary>
    public bool Add;

    /// <summary>
    /// First pair of segment <paramref name="segment"/>. The pairs of K (the last may hold a single k) are split evenly,
    /// fractions rounded down, so K a multiple of 16 gives equal segments, which are the segments of K / ranks as well.
    /// </summary>
    public readonly int SegmentStart(int segment) => (int)((long)segment * ((Weight.Inputs + 1) / 2) / Segments);

    /// <summary>Rows [row, row + rows) of this job.</summary>
    public readonly LinearJob RowRange(int row, int rows)
    {
        LinearJob part = this;
        part.X += row * XStride;
        part.Y += row * YStride;
        part.XBlocks = XBlocks.From(row);
        part.Rows = rows;
        return part;
    }

    /// <summary>Output features.</summary>
    public readonly int Outputs => Blocks.Kind == BlockKind.None ? Weight.Outputs : Blocks.Outputs;

    /// <summary>Rows, inputs and outputs at once: multiply-adds.</summary>
    public readonly long Work => (long)Rows * Outputs * (Blocks.Kind == BlockKind.None ? Weight.Inputs : Blocks.Inputs);
}

/// <summary>How a region of equally shaped jobs is cut into chunks: job by job, rows by rows, outputs by outputs.</summary>
internal unsafe struct LinearRegion
{
    // Small enough for the last chunks to end together, large enough for long streams.
    private const int ChunksPerThread = 8;

    /// <summary>Sums a thread can hold.</summary>
    public const int MaxSums = 32 * 1024;

    /// <summary>Scratch of a thread.</summary>
    public const int ScratchBytes = sizeof(float) * MaxSums;

    public LinearJob* Jobs;
    public int Vectors;
    public int VectorsPerChunk;
    public int VectorChunks;
    public int RowsPerChunk;
    public int RowChunks;

    /// <summary>Scratch of the threads.</summary>
    public byte* Scratch;
    public long ScratchStride;

    /// <summary>Cuts a region.</summary>
    /// <param name="threads">Threads that share it.</param>
    /// <param name="jobs">Jobs, one after the other.</param>
    /// <param name="count">Number of jobs.</param>
    /// <param name="mostRows">Rows of the largest job.</param>
    /// <param name="vectors">Vectors of outputs of a job.</param>
    /// <param name="unit">Vectors that stay together.</param>
    public static LinearRegion Cut(int threads, LinearJob* jobs, int count, int mostRows, int vectors, int unit)
    {
        int units = (vectors + unit - 1) / unit;
        int wanted = threads == 1 ? 1 : Math.Max(1, ChunksPerThread * threads / count);
        int unitsPerChunk = Math.Max(1, units / wanted);
        int vectorChunks = (units + unitsPerChunk - 1) / unitsPerChunk;
        int rowChunks = Math.Clamp(wanted / vectorChunks, 1, (mostRows + 63) / 64);
        int rowsPerChunk = (mostRows + rowChunks - 1) / rowChunks;
        return new LinearRegion
        {
            Jobs = jobs,
            Vectors = vectors,
            VectorsPerChunk = unitsPerChunk * unit,
            VectorChunks = vectorChunks,
            RowsPerChunk = rowsPerChunk,
            RowChunks = (mostRows + rowsPerChunk - 1) / rowsPerChunk,
        };
    }

    /// <summary>The part of a job that is a chunk: its rows and vectors [first, end). No rows: nothing to do.</summary>
    public readonly LinearJob JobOf(int chunk, out int first, out int end)
    {
        (int rest, int vectorChunk) = Math.DivRem(chunk, VectorChunks);
        (int index, int rowChunk) = Math.DivRem(rest, RowChunks);
        first = vectorChunk * VectorsPerChunk;
        end = Math.Min(first + VectorsPerChunk, Vectors);
        int row = rowChunk * RowsPerChunk;
        return Jobs[index].Rows <= row ? default : Jobs[index].RowRange(row, Math.Min(RowsPerChunk, Jobs[index].Rows - row));
    }
}
