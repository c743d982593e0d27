using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>Arguments of one register tile over quantised weights.</summary>
internal unsafe struct BlockTileJob
{
    /// <summary>Panels of each vector's lanes; unused ones repeat the last.</summary>
    public byte* Panel0, Panel1, Panel2, Panel3;

    /// <summary>First lane of each vector within its panel.</summary>
    public int Lane0, Lane1, Lane2, Lane3;

    /// <summary>Vectors in use, 1 to 4.</summary>
    public int Vectors;

    /// <summary>Rows in use, 1 to 4.</summary>
    public int Rows;

    /// <summary>First row's codes, scales and sums.</summary>
    public RowBlocks X;

    /// <summary>Groups [First, End).</summary>
    public int First, End;

    /// <summary>How far ahead of the group in work each panel is prefetched, in bytes (one row of AVX-512 has its own).</summary>
    public long PrefetchBytes;

    /// <summary>First row's first sum.</summary>
    public float* Sums;

    /// <summary>Floats between rows of sums.</summary>
    public long SumStride;
}

/// <summary>
/// Register tiles over quantised weights: per group of 32 inputs an exact integer product of codes, then one FMA into the
/// output's fp32 sum, groups ascending. Neither the tile's shape nor the instruction set shows in the bits.
/// </summary>
internal readonly unsafe partial struct BlockTile<TLanes, TVector, TBytes, TInt, TFormat> : IBlockTile
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TBytes : struct, IByteLanes<TVector, TInt>
    where TInt : unmanaged
    where TFormat : struct, IBlockFormat
{
    public static int Width => TBytes.Width;

    public static int RowsPerPass => 4;

    public static int VectorsFor(int rows) => rows <= 2 ? 4 : 2;

    // Asked of types, which the JIT decides early: a call left over in a tile would spill every register.
    private static bool IsNibbles
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => typeof(TFormat) != typeof(Int8Blocks);
    }

    private static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => typeof(TFormat) == typeof(Int4MinimumBlocks);
    }

    private static int GroupBytes => 4 * BlockView.Width * TFormat.Vectors;

    private static int RecordBytes => TFormat.HeadBytes + (2 * GroupBytes);

    private static int StartFactor => IsNibbles || TBytes.KeepsOffset ? -TFormat.Zero : 0;

    public static void Run(in BlockTileJob tile)
    {
        if (tile.Rows == 1)
            Rows1(tile);
        else if (tile.Rows == 2)
            Rows2(tile);
        else
            Rows4(tile);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* codes, int lane)
    {
        // Two vectors of 8 outputs share a panel: each asks for its half of the group, and for the head that may come next.
        if (TBytes.Width != 8)
            return;
        codes += lane * (long)(GroupBytes / BlockView.Width);
        CacheHint.Read(codes);
        CacheHint.Read(codes + 64);
        CacheHint.Read(codes + 128);
        if (IsNibbles)
            return;
        CacheHint.Read(codes + 192);
        CacheHint.Read(codes + 256);
    }
}
