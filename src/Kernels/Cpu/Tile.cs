using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>Arguments of one register tile.</summary>
internal unsafe struct Tile
{
    /// <summary>First pair of each vector's lanes; unused ones repeat the last.</summary>
    public byte* Panels0, Panels1, Panels2, Panels3;

    /// <summary>Vectors in use, 1 to 4.</summary>
    public int Vectors;

    /// <summary>Rows in use, 1 to 8.</summary>
    public int Rows;

    /// <summary>First row's first input.</summary>
    public float* X;

    /// <summary>Floats between rows of inputs.</summary>
    public long XStride;

    /// <summary>Pairs of k.</summary>
    public int Pairs;

    /// <summary>Whether a single k follows the pairs.</summary>
    public bool Odd;

    /// <summary>First row's first sum.</summary>
    public float* Sums;

    /// <summary>Floats between rows of sums.</summary>
    public long SumStride;

    /// <summary>Sets vectors and their streams.</summary>
    public void SetStreams(byte** streams, int count)
    {
        Vectors = count;
        Panels0 = streams[0];
        Panels1 = streams[Math.Min(1, count - 1)];
        Panels2 = streams[Math.Min(2, count - 1)];
        Panels3 = streams[Math.Min(3, count - 1)];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly float* Row(int row) => X + (Math.Min(row, Rows - 1) * XStride);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly TVector Load<TLanes, TVector>(int row, int vector)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.Load(Sum(row, vector, TLanes.Width));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly void Store<TLanes, TVector>(int row, int vector, TVector value)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.Store(Sum(row, vector, TLanes.Width), value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private readonly float* Sum(int row, int vector, int width) =>
        Sums + (Math.Min(row, Rows - 1) * SumStride) + (Math.Min(vector, Vectors - 1) * width);
}
