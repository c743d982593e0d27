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

    /// <summary>Pairs of k, one after the other in every panel.</summary>
    public int Pairs;

    /// <summary>Whether a single k follows the last pair.</summary>
    public bool Odd;

    /// <summary>
    /// How far ahead of the pair in work each panel is prefetched, in bytes. A line that is asked for early enough arrives
    /// in time; the hardware's own prefetcher alone leaves a fifth of the bandwidth unused (measured).
    /// </summary>
    public long PrefetchBytes;

    /// <summary>First row's first sum.</summary>
    public float* Sums;

    /// <summary>Floats between rows of sums.</summary>
    public long SumStride;

    /// <summary>Inputs of a row; a row out of use is the last one again.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly float* Row(int row) => X + (Math.Min(row, Rows - 1) * XStride);

    /// <summary>Sums of a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly float* SumRow(int row) => Sums + (Math.Min(row, Rows - 1) * SumStride);

    /// <summary>First lane of a vector.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly long SumLane(int vector, int width) => Math.Min(vector, Vectors - 1) * width;
}
