using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class PanelTile<TLanes, TVector, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TFormat : struct, IPanelFormat
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows8(in Tile tile)
    {
        byte* w0 = tile.Panels0, w1 = tile.Panels1, w2 = tile.Panels2;
        float* x0 = tile.X, x1 = tile.Row(1), x2 = tile.Row(2), x3 = tile.Row(3), x4 = tile.Row(4), x5 = tile.Row(5), x6 = tile.Row(6), x7 = tile.Row(7);
        float* y0 = tile.Sums, y1 = tile.SumRow(1), y2 = tile.SumRow(2), y3 = tile.SumRow(3), y4 = tile.SumRow(4), y5 = tile.SumRow(5), y6 = tile.SumRow(6), y7 = tile.SumRow(7);
        long v1 = tile.SumLane(1, TLanes.Width), v2 = tile.SumLane(2, TLanes.Width);
        TVector s00 = TLanes.Load(y0), s01 = TLanes.Load(y0 + v1), s02 = TLanes.Load(y0 + v2);
        TVector s10 = TLanes.Load(y1), s11 = TLanes.Load(y1 + v1), s12 = TLanes.Load(y1 + v2);
        TVector s20 = TLanes.Load(y2), s21 = TLanes.Load(y2 + v1), s22 = TLanes.Load(y2 + v2);
        TVector s30 = TLanes.Load(y3), s31 = TLanes.Load(y3 + v1), s32 = TLanes.Load(y3 + v2);
        TVector s40 = TLanes.Load(y4), s41 = TLanes.Load(y4 + v1), s42 = TLanes.Load(y4 + v2);
        TVector s50 = TLanes.Load(y5), s51 = TLanes.Load(y5 + v1), s52 = TLanes.Load(y5 + v2);
        TVector s60 = TLanes.Load(y6), s61 = TLanes.Load(y6 + v1), s62 = TLanes.Load(y6 + v2);
        TVector s70 = TLanes.Load(y7), s71 = TLanes.Load(y7 + v1), s72 = TLanes.Load(y7 + v2);
        long k = 0;
        long ahead = tile.PrefetchBytes;
        for (long end = 2L * tile.Pairs; k < end; k += 2)
        {
            Prefetch(w0 + ahead);
            Prefetch(w1 + ahead);
            Prefetch(w2 + ahead);
            TVector even0 = TFormat.Even<TLanes, TVector>(w0);
            TVector even1 = TFormat.Even<TLanes, TVector>(w1);
            TVector even2 = TFormat.Even<TLanes, TVector>(w2);
            TVector evenX0 = TLanes.Broadcast(x0[k]);
            s00 = TLanes.Fma(even0, evenX0, s00);
            s01 = TLanes.Fma(even1, evenX0, s01);
            s02 = TLanes.Fma(even2, evenX0, s02);
            TVector evenX1 = TLanes.Broadcast(x1[k]);
            s10 = TLanes.Fma(even0, evenX1, s10);
            s11 = TLanes.Fma(even1, evenX1, s11);
            s12 = TLanes.Fma(even2, evenX1, s12);
            TVector evenX2 = TLanes.Broadcast(x2[k]);
            s20 = TLanes.Fma(even0, evenX2, s20);
            s21 = TLanes.Fma(even1, evenX2, s21);
            s22 = TLanes.Fma(even2, evenX2, s22);
            TVector evenX3 = TLanes.Broadcast(x3[k]);
            s30 = TLanes.Fma(even0, evenX3, s30);
            s31 = TLanes.Fma(even1, evenX3, s31);
            s32 = TLanes.Fma(even2, evenX3, s32);
            TVector evenX4 = TLanes.Broadcast(x4[k]);
            s40 = TLanes.Fma(even0, evenX4, s40);
            s41 = TLanes.Fma(even1, evenX4, s41);
            s42 = TLanes.Fma(even2, evenX4, s42);
            TVector evenX5 = TLanes.Broadcast(x5[k]);
            s50 = TLanes.Fma(even0, evenX5, s50);
            s51 = TLanes.Fma(even1, evenX5, s51);
            s52 = TLanes.Fma(even2, evenX5, s52);
            TVector evenX6 = TLanes.Broadcast(x6[k]);
            s60 = TLanes.Fma(even0, evenX6, s60);
            s61 = TLanes.Fma(even1, evenX6, s61);
            s62 = TLanes.Fma(even2, evenX6, s62);
            TVector evenX7 = TLanes.Broadcast(x7[k]);
            s70 = TLanes.Fma(even0, evenX7, s70);
            s71 = TLanes.Fma(even1, evenX7, s71);
            s72 = TLanes.Fma(even2, evenX7, s72);

            TVector odd0 = TFormat.Odd<TLanes, TVector>(w0);
            TVector odd1 = TFormat.Odd<TLanes, TVector>(w1);
            TVector odd2 = TFormat.Odd<TLanes, TVector>(w2);
            TVector oddX0 = TLanes.Broadcast(x0[k + 1]);
            s00 = TLanes.Fma(odd0, oddX0, s00);
            s01 = TLanes.Fma(odd1, oddX0, s01);
            s02 = TLanes.Fma(odd2, oddX0, s02);
            TVector oddX1 = TLanes.Broadcast(x1[k + 1]);
            s10 = TLanes.Fma(odd0, oddX1, s10);
            s11 = TLanes.Fma(odd1, oddX1, s11);
            s12 = TLanes.Fma(odd2, oddX1, s12);
            TVector oddX2 = TLanes.Broadcast(x2[k + 1]);
            s20 = TLanes.Fma(odd0, oddX2, s20);
            s21 = TLanes.Fma(odd1, oddX2, s21);
            s22 = TLanes.Fma(odd2, oddX2, s22);
            TVector oddX3 = TLanes.Broadcast(x3[k + 1]);
            s30 = TLanes.Fma(odd0, oddX3, s30);
            s31 = TLanes.Fma(odd1, oddX3, s31);
            s32 = TLanes.Fma(odd2, oddX3, s32);
            TVector oddX4 = TLanes.Broadcast(x4[k + 1]);
            s40 = TLanes.Fma(odd0, oddX4, s40);
            s41 = TLanes.Fma(odd1, oddX4, s41);
            s42 = TLanes.Fma(odd2, oddX4, s42);
            TVector oddX5 = TLanes.Broadcast(x5[k + 1]);
            s50 = TLanes.Fma(odd0, oddX5, s50);
            s51 = TLanes.Fma(odd1, oddX5, s51);
            s52 = TLanes.Fma(odd2, oddX5, s52);
            TVector oddX6 = TLanes.Broadcast(x6[k + 1]);
            s60 = TLanes.Fma(odd0, oddX6, s60);
            s61 = TLanes.Fma(odd1, oddX6, s61);
            s62 = TLanes.Fma(odd2, oddX6, s62);
            TVector oddX7 = TLanes.Broadcast(x7[k + 1]);
            s70 = TLanes.Fma(odd0, oddX7, s70);
            s71 = TLanes.Fma(odd1, oddX7, s71);
            s72 = TLanes.Fma(odd2, oddX7, s72);
            w0 += TFormat.PairBytes;
            w1 += TFormat.PairBytes;
            w2 += TFormat.PairBytes;
        }

        if (tile.Odd)
        {
            TVector last0 = TFormat.Even<TLanes, TVector>(w0);
            TVector last1 = TFormat.Even<TLanes, TVector>(w1);
            TVector last2 = TFormat.Even<TLanes, TVector>(w2);
            s00 = TLanes.Fma(last0, TLanes.Broadcast(x0[k]), s00);
            s01 = TLanes.Fma(last1, TLanes.Broadcast(x0[k]), s01);
            s02 = TLanes.Fma(last2, TLanes.Broadcast(x0[k]), s02);
            s10 = TLanes.Fma(last0, TLanes.Broadcast(x1[k]), s10);
            s11 = TLanes.Fma(last1, TLanes.Broadcast(x1[k]), s11);
            s12 = TLanes.Fma(last2, TLanes.Broadcast(x1[k]), s12);
            s20 = TLanes.Fma(last0, TLanes.Broadcast(x2[k]), s20);
            s21 = TLanes.Fma(last1, TLanes.Broadcast(x2[k]), s21);
            s22 = TLanes.Fma(last2, TLanes.Broadcast(x2[k]), s22);
            s30 = TLanes.Fma(last0, TLanes.Broadcast(x3[k]), s30);
            s31 = TLanes.Fma(last1, TLanes.Broadcast(x3[k]), s31);
            s32 = TLanes.Fma(last2, TLanes.Broadcast(x3[k]), s32);
            s40 = TLanes.Fma(last0, TLanes.Broadcast(x4[k]), s40);
            s41 = TLanes.Fma(last1, TLanes.Broadcast(x4[k]), s41);
            s42 = TLanes.Fma(last2, TLanes.Broadcast(x4[k]), s42);
            s50 = TLanes.Fma(last0, TLanes.Broadcast(x5[k]), s50);
            s51 = TLanes.Fma(last1, TLanes.Broadcast(x5[k]), s51);
            s52 = TLanes.Fma(last2, TLanes.Broadcast(x5[k]), s52);
            s60 = TLanes.Fma(last0, TLanes.Broadcast(x6[k]), s60);
            s61 = TLanes.Fma(last1, TLanes.Broadcast(x6[k]), s61);
            s62 = TLanes.Fma(last2, TLanes.Broadcast(x6[k]), s62);
            s70 = TLanes.Fma(last0, TLanes.Broadcast(x7[k]), s70);
            s71 = TLanes.Fma(last1, TLanes.Broadcast(x7[k]), s71);
            s72 = TLanes.Fma(last2, TLanes.Broadcast(x7[k]), s72);
        }

        TLanes.Store(y0, s00);
        TLanes.Store(y0 + v1, s01);
        TLanes.Store(y0 + v2, s02);
        TLanes.Store(y1, s10);
        TLanes.Store(y1 + v1, s11);
        TLanes.Store(y1 + v2, s12);
        TLanes.Store(y2, s20);
        TLanes.Store(y2 + v1, s21);
        TLanes.Store(y2 + v2, s22);
        TLanes.Store(y3, s30);
        TLanes.Store(y3 + v1, s31);
        TLanes.Store(y3 + v2, s32);
        TLanes.Store(y4, s40);
        TLanes.Store(y4 + v1, s41);
        TLanes.Store(y4 + v2, s42);
        TLanes.Store(y5, s50);
        TLanes.Store(y5 + v1, s51);
        TLanes.Store(y5 + v2, s52);
        TLanes.Store(y6, s60);
        TLanes.Store(y6 + v1, s61);
        TLanes.Store(y6 + v2, s62);
        TLanes.Store(y7, s70);
        TLanes.Store(y7 + v1, s71);
        TLanes.Store(y7 + v2, s72);
    }
}
