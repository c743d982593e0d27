using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>Pairs of k that lie one after the other in memory.</summary>
internal unsafe struct KvPiece
{
    /// <summary>Bytes from the tile's first piece, the same for every vector.</summary>
    public long Offset;

    /// <summary>Number of pairs.</summary>
    public int Pairs;
}

/// <summary>Arguments of one register tile of attention.</summary>
internal unsafe struct KvTile
{
    /// <summary>First pair of each vector's lanes; unused ones repeat the last.</summary>
    public byte* Stream0, Stream1, Stream2, Stream3;

    /// <summary>Bytes between pairs of a stream.</summary>
    public long Step;

    /// <summary>Vectors in use, 1 to 4.</summary>
    public int Vectors;

    /// <summary>Rows in use.</summary>
    public int Rows;

    /// <summary>First row's first input.</summary>
    public float* X;

    /// <summary>Floats between rows of inputs.</summary>
    public long XStride;

    /// <summary>Where the pairs lie, by ascending k.</summary>
    public KvPiece* Pieces;

    /// <summary>Number of pieces.</summary>
    public int PieceCount;

    /// <summary>Whether a single k follows the last pair.</summary>
    public bool Odd;

    /// <summary>Four streams of lines to ask for: of all together as many bytes as a pair of four vectors has.</summary>
    public byte* Next0, Next1, Next2, Next3;

    /// <summary>First row's first sum.</summary>
    public float* Sums;

    /// <summary>Floats between rows of sums.</summary>
    public long SumStride;

    /// <summary>What the sums are multiplied by before the first k, per row; null: they start at 0, whatever they hold. Adding +0 turns -0 into +0:
    /// whether keys of weight 0 were added before (other rows of the tile see them) leaves no trace.</summary>
    public float* Factors;

    /// <summary>Sets vectors and their streams.</summary>
    public void SetStreams(byte** streams, int count)
    {
        Vectors = count;
        Stream0 = streams[0];
        Stream1 = streams[Math.Min(1, count - 1)];
        Stream2 = streams[Math.Min(2, count - 1)];
        Stream3 = streams[Math.Min(3, count - 1)];
    }

    /// <summary>Index of a row; a row out of use is the last one again.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly int Row(int row) => Math.Min(row, Rows - 1);

    /// <summary>First lane of a vector.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly long Lane(int vector, int width) => Math.Min(vector, Vectors - 1) * width;
}

/// <summary>
/// Register tiles: sums[row, lane] = fma(kv[k, lane], x[row, k], sums[row, lane]) for ascending k. Each sum is one chain in one
/// register, whatever the shape of the tile, so a row's bits do not depend on it. Spelled out because the JIT keeps
/// named locals in registers, not arrays.
/// </summary>
internal static unsafe partial class KvTile<TLanes, TVector, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TFormat : struct, IKvFormat
{
    /// <summary>Vectors of one pass over this many rows.</summary>
    public static int VectorsFor(int rows) => TLanes.HasManyRegisters || rows <= 2 ? 4 : 2;

    /// <summary><paramref name="tile"/>'s rows, any number, times its vectors; lines ahead are asked for by the first pass.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Accumulate(KvTile tile, bool prefetch)
    {
        float* x = tile.X, sums = tile.Sums, factors = tile.Factors;
        int rows = tile.Rows;
        for (int row = 0; row < rows; row += tile.Rows)
        {
            int left = rows - row;
            tile.Rows = Math.Min(left, TLanes.HasManyRegisters && left >= 5 && left != 8 ? 6 : 4);
            tile.X = x + (row * tile.XStride);
            tile.Sums = sums + (row * tile.SumStride);
            tile.Factors = factors is null ? null : factors + row;
            if (prefetch && row == 0)
                Run<PrefetchOn>(tile);
            else
                Run<PrefetchOff>(tile);
        }
    }

    private static void Run<TPrefetch>(in KvTile tile)
        where TPrefetch : struct, IKvPrefetch
    {
        if (tile.Rows == 1)
            Rows1<TPrefetch>(tile);
        else if (tile.Rows == 2)
            Rows2<TPrefetch>(tile);
        else if (!TLanes.HasManyRegisters)
            Rows4Narrow<TPrefetch>(tile);
        else if (tile.Rows <= 4)
            Rows4<TPrefetch>(tile);
        else
            Rows6<TPrefetch>(tile);
    }

    /// <summary>Asks for as many bytes of four streams as a step reads of four vectors: two lines of a stream, then the next stream's turn.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Ask(ref byte* f0, ref byte* f1, ref byte* f2, ref byte* f3)
    {
        AskLines(ref f0);
        if (TFormat.PairBytes < 64)
        {
            byte* asked = f0;
            f0 = f1;
            f1 = f2;
            f2 = f3;
            f3 = asked;
            return;
        }

        AskLines(ref f1);
        if (TFormat.PairBytes == 64)
        {
            byte* asked = f0, alsoAsked = f1;
            f0 = f2;
            f1 = f3;
            f2 = asked;
            f3 = alsoAsked;
            return;
        }

        AskLines(ref f2);
        AskLines(ref f3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AskLines(ref byte* stream)
    {
        CacheHint.Read(stream);
        CacheHint.Read(stream + 64);
        stream += 128;
    }
}
