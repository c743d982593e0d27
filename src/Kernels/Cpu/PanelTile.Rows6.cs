using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class PanelTile<TLanes, TVector, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TFormat : struct, IPanelFormat
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows6(in Tile tile)
    {
        byte* w0 = tile.Panels0, w1 = tile.Panels1;
        float* x0 = tile.X, x1 = tile.Row(1), x2 = tile.Row(2), x3 = tile.Row(3), x4 = tile.Row(4), x5 = tile.Row(5);
        float* y0 = tile.Sums, y1 = tile.SumRow(1), y2 = tile.SumRow(2), y3 = tile.SumRow(3), y4 = tile.SumRow(4), y5 = tile.SumRow(5);
        long v1 = tile.SumLane(1, TLanes.Width);
        TVector s00 = TLanes.Load(y0), s01 = TLanes.Load(y0 + v1);
        TVector s10 = TLanes.Load(y1), s11 = TLanes.Load(y1 + v1);
        TVector s20 = TLanes.Load(y2), s21 = TLanes.Load(y2 + v1);
        TVector s30 = TLanes.Load(y3), s31 = TLanes.Load(y3 + v1);
        TVector s40 = TLanes.Load(y4), s41 = TLanes.Load(y4 + v1);
        TVector s50 = TLanes.Load(y5), s51 = TLanes.Load(y5 + v1);
        long k = 0;
        long ahead = tile.PrefetchBytes;
        for (long end = 2L * tile.Pairs; k < end; k += 2)
        {
            Prefetch(w0 + ahead);
            Prefetch(w1 + ahead);
            TVector even0 = TFormat.Even<TLanes, TVector>(w0);
            TVector even1 = TFormat.Even<TLanes, TVector>(w1);
            TVector evenX0 = TLanes.Broadcast(x0[k]);
            s00 = TLanes.Fma(even0, evenX0, s00);
            s01 = TLanes.Fma(even1, evenX0, s01);
            TVector evenX1 = TLanes.Broadcast(x1[k]);
            s10 = TLanes.Fma(even0, evenX1, s10);
            s11 = TLanes.Fma(even1, evenX1, s11);
            TVector evenX2 = TLanes.Broadcast(x2[k]);
            s20 = TLanes.Fma(even0, evenX2, s20);
            s21 = TLanes.Fma(even1, evenX2, s21);
            TVector evenX3 = TLanes.Broadcast(x3[k]);
            s30 = TLanes.Fma(even0, evenX3, s30);
            s31 = TLanes.Fma(even1, evenX3, s31);
            TVector evenX4 = TLanes.Broadcast(x4[k]);
            s40 = TLanes.Fma(even0, evenX4, s40);
            s41 = TLanes.Fma(even1, evenX4, s41);
            TVector evenX5 = TLanes.Broadcast(x5[k]);
            s50 = TLanes.Fma(even0, evenX5, s50);
            s51 = TLanes.Fma(even1, evenX5, s51);

            TVector odd0 = TFormat.Odd<TLanes, TVector>(w0);
            TVector odd1 = TFormat.Odd<TLanes, TVector>(w1);
            TVector oddX0 = TLanes.Broadcast(x0[k + 1]);
            s00 = TLanes.Fma(odd0, oddX0, s00);
            s01 = TLanes.Fma(odd1, oddX0, s01);
            TVector oddX1 = TLanes.Broadcast(x1[k + 1]);
            s10 = TLanes.Fma(odd0, oddX1, s10);
            s11 = TLanes.Fma(odd1, oddX1, s11);
            TVector oddX2 = TLanes.Broadcast(x2[k + 1]);
            s20 = TLanes.Fma(odd0, oddX2, s20);
            s21 = TLanes.Fma(odd1, oddX2, s21);
            TVector oddX3 = TLanes.Broadcast(x3[k + 1]);
            s30 = TLanes.Fma(odd0, oddX3, s30);
            s31 = TLanes.Fma(odd1, oddX3, s31);
            TVector oddX4 = TLanes.Broadcast(x4[k + 1]);
            s40 = TLanes.Fma(odd0, oddX4, s40);
            s41 = TLanes.Fma(odd1, oddX4, s41);
            TVector oddX5 = TLanes.Broadcast(x5[k + 1]);
            s50 = TLanes.Fma(odd0, oddX5, s50);
            s51 = TLanes.Fma(odd1, oddX5, s51);
            w0 += TFormat.PairBytes;
            w1 += TFormat.PairBytes;
        }

        if (tile.Odd)
        {
            TVector last0 = TFormat.Even<TLanes, TVector>(w0);
            TVector last1 = TFormat.Even<TLanes, TVector>(w1);
            s00 = TLanes.Fma(last0, TLanes.Broadcast(x0[k]), s00);
            s01 = TLanes.Fma(last1, TLanes.Broadcast(x0[k]), s01);
            s10 = TLanes.Fma(last0, TLanes.Broadcast(x1[k]), s10);
            s11 = TLanes.Fma(last1, TLanes.Broadcast(x1[k]), s11);
            s20 = TLanes.Fma(last0, TLanes.Broadcast(x2[k]), s20);
            s21 = TLanes.Fma(last1, TLanes.Broadcast(x2[k]), s21);
            s30 = TLanes.Fma(last0, TLanes.Broadcast(x3[k]), s30);
            s31 = TLanes.Fma(last1, TLanes.Broadcast(x3[k]), s31);
            s40 = TLanes.Fma(last0, TLanes.Broadcast(x4[k]), s40);
            s41 = TLanes.Fma(last1, TLanes.Broadcast(x4[k]), s41);
            s50 = TLanes.Fma(last0, TLanes.Broadcast(x5[k]), s50);
            s51 = TLanes.Fma(last1, TLanes.Broadcast(x5[k]), s51);
        }

        TLanes.Store(y0, s00);
        TLanes.Store(y0 + v1, s01);
        TLanes.Store(y1, s10);
        TLanes.Store(y1 + v1, s11);
        TLanes.Store(y2, s20);
        TLanes.Store(y2 + v1, s21);
        TLanes.Store(y3, s30);
        TLanes.Store(y3 + v1, s31);
        TLanes.Store(y4, s40);
        TLanes.Store(y4 + v1, s41);
        TLanes.Store(y5, s50);
        TLanes.Store(y5 + v1, s51);
    }
}
