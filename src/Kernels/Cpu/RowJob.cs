namespace Cluster.Kernels.Cpu;

/// <summary>An op that treats every row by itself.</summary>
internal unsafe struct RowJob
{
    public int Rows;

    /// <summary>Elements of a row that the op writes.</summary>
    public int Width;
    public float* X;
    public long XStride;

    /// <summary>Norm weight (stride 0), gate, or nothing.</summary>
    public float* Other;
    public long OtherStride;
    public float* Y;
    public long YStride;
    public float Epsilon;

    /// <summary>Set by the kernel.</summary>
    public int RowsPerChunk;
}
