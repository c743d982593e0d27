using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Register tiles: sums[row, lane] = fma(w[k, lane], x[row, k], sums[row, lane]) for ascending k, for up to 4 vectors of
/// outputs and up to 8 rows. Each sum is one chain in one register, whatever the shape of the tile, so a row's bits do not
/// depend on it; sums start and end in memory, so K may be cut anywhere. Spelled out because the JIT keeps named locals in
/// registers, not arrays. Shapes: with 32 vector
/// registers 4 vectors up to 5 rows and 3 vectors up to 8 rows (measured best), with 16 registers 4 by 2 and 2 by 6.
/// </summary>
internal static unsafe partial class PanelTile<TLanes, TVector, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TFormat : struct, IPanelFormat
{
    /// <summary>Vectors of the tiles that compute this many rows.</summary>
    public static int VectorsFor(int rows) => TLanes.HasManyRegisters ? (rows <= 5 ? 4 : 3) : (rows <= 2 ? 4 : 2);

    /// <summary>Most rows of one pass.</summary>
    public static int RowsPerPass => TLanes.HasManyRegisters ? 8 : 6;

    /// <summary>Runs the smallest shape that holds the tile; what is beyond its rows and vectors repeats the last one.</summary>
    public static void Run(in Tile tile)
    {
        if (tile.Rows == 1)
            Rows1(tile);
        else if (tile.Rows == 2)
            Rows2(tile);
        else if (tile.Vectors <= 2 && !TLanes.HasManyRegisters)
            Rows6(tile);
        else if (tile.Rows <= 4)
            Rows4(tile);
        else if (tile.Rows == 5)
            Rows5(tile);
        else
            Rows8(tile);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* weights)
    {
        if (TLanes.Width == 1)
            return;
        CacheHint.Read(weights);
        if (TFormat.PairBytes > 64)
            CacheHint.Read(weights + 64);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(in Tile tile)
    {
        byte* w0 = tile.Panels0, w1 = tile.Panels1, w2 = tile.Panels2, w3 = tile.Panels3;
        float* x0 = tile.X;
        float* y0 = tile.Sums;
        long v1 = tile.SumLane(1, TLanes.Width), v2 = tile.SumLane(2, TLanes.Width), v3 = tile.SumLane(3, TLanes.Width);
        TVector s00 = TLanes.Load(y0), s01 = TLanes.Load(y0 + v1), s02 = TLanes.Load(y0 + v2), s03 = TLanes.Load(y0 + v3);
        long k = 0;
        long ahead = tile.PrefetchBytes;
        for (long end = 2L * tile.Pairs; k < end; k += 2)
        {
            Prefetch(w0 + ahead);
            Prefetch(w1 + ahead);
            Prefetch(w2 + ahead);
            Prefetch(w3 + ahead);
            TVector even0 = TFormat.Even<TLanes, TVector>(w0);
            TVector even1 = TFormat.Even<TLanes, TVector>(w1);
            TVector even2 = TFormat.Even<TLanes, TVector>(w2);
            TVector even3 = TFormat.Even<TLanes, TVector>(w3);
            TVector evenX0 = TLanes.Broadcast(x0[k]);
            s00 = TLanes.Fma(even0, evenX0, s00);
            s01 = TLanes.Fma(even1, evenX0, s01);
            s02 = TLanes.Fma(even2, evenX0, s02);
            s03 = TLanes.Fma(even3, evenX0, s03);

            TVector odd0 = TFormat.Odd<TLanes, TVector>(w0);
            TVector odd1 = TFormat.Odd<TLanes, TVector>(w1);
            TVector odd2 = TFormat.Odd<TLanes, TVector>(w2);
            TVector odd3 = TFormat.Odd<TLanes, TVector>(w3);
            TVector oddX0 = TLanes.Broadcast(x0[k + 1]);
            s00 = TLanes.Fma(odd0, oddX0, s00);
            s01 = TLanes.Fma(odd1, oddX0, s01);
            s02 = TLanes.Fma(odd2, oddX0, s02);
            s03 = TLanes.Fma(odd3, oddX0, s03);
            w0 += TFormat.PairBytes;
            w1 += TFormat.PairBytes;
            w2 += TFormat.PairBytes;
            w3 += TFormat.PairBytes;
        }

        if (tile.Odd)
        {
            TVector last0 = TFormat.Even<TLanes, TVector>(w0);
            TVector last1 = TFormat.Even<TLanes, TVector>(w1);
            TVector last2 = TFormat.Even<TLanes, TVector>(w2);
            TVector last3 = TFormat.Even<TLanes, TVector>(w3);
            s00 = TLanes.Fma(last0, TLanes.Broadcast(x0[k]), s00);
            s01 = TLanes.Fma(last1, TLanes.Broadcast(x0[k]), s01);
            s02 = TLanes.Fma(last2, TLanes.Broadcast(x0[k]), s02);
            s03 = TLanes.Fma(last3, TLanes.Broadcast(x0[k]), s03);
        }

        TLanes.Store(y0, s00);
        TLanes.Store(y0 + v1, s01);
        TLanes.Store(y0 + v2, s02);
        TLanes.Store(y0 + v3, s03);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(in Tile tile)
    {
        byte* w0 = tile.Panels0, w1 = tile.Panels1, w2 = tile.Panels2, w3 = tile.Panels3;
        float* x0 = tile.X, x1 = tile.Row(1);
        float* y0 = tile.Sums, y1 = tile.SumRow(1);
        long v1 = tile.SumLane(1, TLanes.Width), v2 = tile.SumLane(2, TLanes.Width), v3 = tile.SumLane(3, TLanes.Width);
        TVector s00 = TLanes.Load(y0), s01 = TLanes.Load(y0 + v1), s02 = TLanes.Load(y0 + v2), s03 = TLanes.Load(y0 + v3);
        TVector s10 = TLanes.Load(y1), s11 = TLanes.Load(y1 + v1), s12 = TLanes.Load(y1 + v2), s13 = TLanes.Load(y1 + v3);
        long k = 0;
        long ahead = tile.PrefetchBytes;
        for (long end = 2L * tile.Pairs; k < end; k += 2)
        {
            Prefetch(w0 + ahead);
            Prefetch(w1 + ahead);
            Prefetch(w2 + ahead);
            Prefetch(w3 + ahead);
            TVector even0 = TFormat.Even<TLanes, TVector>(w0);
            TVector even1 = TFormat.Even<TLanes, TVector>(w1);
            TVector even2 = TFormat.Even<TLanes, TVector>(w2);
            TVector even3 = TFormat.Even<TLanes, TVector>(w3);
            TVector evenX0 = TLanes.Broadcast(x0[k]);
            s00 = TLanes.Fma(even0, evenX0, s00);
            s01 = TLanes.Fma(even1, evenX0, s01);
            s02 = TLanes.Fma(even2, evenX0, s02);
            s03 = TLanes.Fma(even3, evenX0, s03);
            TVector evenX1 = TLanes.Broadcast(x1[k]);
            s10 = TLanes.Fma(even0, evenX1, s10);
            s11 = TLanes.Fma(even1, evenX1, s11);
            s12 = TLanes.Fma(even2, evenX1, s12);
            s13 = TLanes.Fma(even3, evenX1, s13);

            TVector odd0 = TFormat.Odd<TLanes, TVector>(w0);
            TVector odd1 = TFormat.Odd<TLanes, TVector>(w1);
            TVector odd2 = TFormat.Odd<TLanes, TVector>(w2);
            TVector odd3 = TFormat.Odd<TLanes, TVector>(w3);
            TVector oddX0 = TLanes.Broadcast(x0[k + 1]);
            s00 = TLanes.Fma(odd0, oddX0, s00);
            s01 = TLanes.Fma(odd1, oddX0, s01);
            s02 = TLanes.Fma(odd2, oddX0, s02);
            s03 = TLanes.Fma(odd3, oddX0, s03);
            TVector oddX1 = TLanes.Broadcast(x1[k + 1]);
            s10 = TLanes.Fma(odd0, oddX1, s10);
            s11 = TLanes.Fma(odd1, oddX1, s11);
            s12 = TLanes.Fma(odd2, oddX1, s12);
            s13 = TLanes.Fma(odd3, oddX1, s13);
            w0 += TFormat.PairBytes;
            w1 += TFormat.PairBytes;
            w2 += TFormat.PairBytes;
            w3 += TFormat.PairBytes;
        }

        if (tile.Odd)
        {
            TVector last0 = TFormat.Even<TLanes, TVector>(w0);
            TVector last1 = TFormat.Even<TLanes, TVector>(w1);
            TVector last2 = TFormat.Even<TLanes, TVector>(w2);
            TVector last3 = TFormat.Even<TLanes, TVector>(w3);
            s00 = TLanes.Fma(last0, TLanes.Broadcast(x0[k]), s00);
            s01 = TLanes.Fma(last1, TLanes.Broadcast(x0[k]), s01);
            s02 = TLanes.Fma(last2, TLanes.Broadcast(x0[k]), s02);
            s03 = TLanes.Fma(last3, TLanes.Broadcast(x0[k]), s03);
            s10 = TLanes.Fma(last0, TLanes.Broadcast(x1[k]), s10);
            s11 = TLanes.Fma(last1, TLanes.Broadcast(x1[k]), s11);
            s12 = TLanes.Fma(last2, TLanes.Broadcast(x1[k]), s12);
            s13 = TLanes.Fma(last3, TLanes.Broadcast(x1[k]), s13);
        }

        TLanes.Store(y0, s00);
        TLanes.Store(y0 + v1, s01);
        TLanes.Store(y0 + v2, s02);
        TLanes.Store(y0 + v3, s03);
        TLanes.Store(y1, s10);
        TLanes.Store(y1 + v1, s11);
        TLanes.Store(y1 + v2, s12);
        TLanes.Store(y1 + v3, s13);
    }
}
