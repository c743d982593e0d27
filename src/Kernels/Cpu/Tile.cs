using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>Pairs of k that lie one after the other in memory.</summary>
/// <param name="Offset">Bytes from the tile's first piece, the same for every vector.</param>
/// <param name="Pairs">Number of pairs.</param>
internal readonly record struct TilePiece(long Offset, int Pairs);

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

    /// <summary>Where the pairs lie, by ascending k.</summary>
    public TilePiece* Pieces;

    /// <summary>Number of pieces.</summary>
    public int PieceCount;

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

    /// <summary>Sets vectors and their streams.</summary>
    public void SetStreams(byte** streams, int count)
    {
        Vectors = count;
        Panels0 = streams[0];
        Panels1 = streams[Math.Min(1, count - 1)];
        Panels2 = streams[Math.Min(2, count - 1)];
        Panels3 = streams[Math.Min(3, count - 1)];
    }

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
