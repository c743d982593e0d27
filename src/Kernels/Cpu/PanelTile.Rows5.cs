using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class PanelTile<TLanes, TVector, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TFormat : struct, IPanelFormat
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(in Tile tile)
    {
        byte* w0 = tile.Panels0, w1 = tile.Panels1, w2 = tile.Panels2, w3 = tile.Panels3;
        float* x0 = tile.X, x1 = tile.Row(1), x2 = tile.Row(2), x3 = tile.Row(3);
        float* y0 = tile.Sums, y1 = tile.SumRow(1), y2 = tile.SumRow(2), y3 = tile.SumRow(3);
        long v1 = tile.SumLane(1, TLanes.Width), v2 = tile.SumLane(2, TLanes.Width), v3 = tile.SumLane(3, TLanes.Width);
        TVector s00 = TLanes.Load(y0), s01 = TLanes.Load(y0 + v1), s02 = TLanes.Load(y0 + v2), s03 = TLanes.Load(y0 + v3);
        TVector s10 = TLanes.Load(y1), s11 = TLanes.Load(y1 + v1), s12 = TLanes.Load(y1 + v2), s13 = TLanes.Load(y1 + v3);
        TVector s20 = TLanes.Load(y2), s21 = TLanes.Load(y2 + v1), s22 = TLanes.Load(y2 + v2), s23 = TLanes.Load(y2 + v3);
        TVector s30 = TLanes.Load(y3), s31 = TLanes.Load(y3 + v1), s32 = TLanes.Load(y3 + v2), s33 = TLanes.Load(y3 + v3);
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
            TVector evenX2 = TLanes.Broadcast(x2[k]);
            s20 = TLanes.Fma(even0, evenX2, s20);
            s21 = TLanes.Fma(even1, evenX2, s21);
            s22 = TLanes.Fma(even2, evenX2, s22);
            s23 = TLanes.Fma(even3, evenX2, s23);
            TVector evenX3 = TLanes.Broadcast(x3[k]);
            s30 = TLanes.Fma(even0, evenX3, s30);
            s31 = TLanes.Fma(even1, evenX3, s31);
            s32 = TLanes.Fma(even2, evenX3, s32);
            s33 = TLanes.Fma(even3, evenX3, s33);

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
            TVector oddX2 = TLanes.Broadcast(x2[k + 1]);
            s20 = TLanes.Fma(odd0, oddX2, s20);
            s21 = TLanes.Fma(odd1, oddX2, s21);
            s22 = TLanes.Fma(odd2, oddX2, s22);
            s23 = TLanes.Fma(odd3, oddX2, s23);
            TVector oddX3 = TLanes.Broadcast(x3[k + 1]);
            s30 = TLanes.Fma(odd0, oddX3, s30);
            s31 = TLanes.Fma(odd1, oddX3, s31);
            s32 = TLanes.Fma(odd2, oddX3, s32);
            s33 = TLanes.Fma(odd3, oddX3, s33);
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
            s20 = TLanes.Fma(last0, TLanes.Broadcast(x2[k]), s20);
            s21 = TLanes.Fma(last1, TLanes.Broadcast(x2[k]), s21);
            s22 = TLanes.Fma(last2, TLanes.Broadcast(x2[k]), s22);
            s23 = TLanes.Fma(last3, TLanes.Broadcast(x2[k]), s23);
            s30 = TLanes.Fma(last0, TLanes.Broadcast(x3[k]), s30);
            s31 = TLanes.Fma(last1, TLanes.Broadcast(x3[k]), s31);
            s32 = TLanes.Fma(last2, TLanes.Broadcast(x3[k]), s32);
            s33 = TLanes.Fma(last3, TLanes.Broadcast(x3[k]), s33);
        }

        TLanes.Store(y0, s00);
        TLanes.Store(y0 + v1, s01);
        TLanes.Store(y0 + v2, s02);
        TLanes.Store(y0 + v3, s03);
        TLanes.Store(y1, s10);
        TLanes.Store(y1 + v1, s11);
        TLanes.Store(y1 + v2, s12);
        TLanes.Store(y1 + v3, s13);
        TLanes.Store(y2, s20);
        TLanes.Store(y2 + v1, s21);
        TLanes.Store(y2 + v2, s22);
        TLanes.Store(y2 + v3, s23);
        TLanes.Store(y3, s30);
        TLanes.Store(y3 + v1, s31);
        TLanes.Store(y3 + v2, s32);
        TLanes.Store(y3 + v3, s33);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows5(in Tile tile)
    {
        byte* w0 = tile.Panels0, w1 = tile.Panels1, w2 = tile.Panels2, w3 = tile.Panels3;
        float* x0 = tile.X, x1 = tile.Row(1), x2 = tile.Row(2), x3 = tile.Row(3), x4 = tile.Row(4);
        float* y0 = tile.Sums, y1 = tile.SumRow(1), y2 = tile.SumRow(2), y3 = tile.SumRow(3), y4 = tile.SumRow(4);
        long v1 = tile.SumLane(1, TLanes.Width), v2 = tile.SumLane(2, TLanes.Width), v3 = tile.SumLane(3, TLanes.Width);
        TVector s00 = TLanes.Load(y0), s01 = TLanes.Load(y0 + v1), s02 = TLanes.Load(y0 + v2), s03 = TLanes.Load(y0 + v3);
        TVector s10 = TLanes.Load(y1), s11 = TLanes.Load(y1 + v1), s12 = TLanes.Load(y1 + v2), s13 = TLanes.Load(y1 + v3);
        TVector s20 = TLanes.Load(y2), s21 = TLanes.Load(y2 + v1), s22 = TLanes.Load(y2 + v2), s23 = TLanes.Load(y2 + v3);
        TVector s30 = TLanes.Load(y3), s31 = TLanes.Load(y3 + v1), s32 = TLanes.Load(y3 + v2), s33 = TLanes.Load(y3 + v3);
        TVector s40 = TLanes.Load(y4), s41 = TLanes.Load(y4 + v1), s42 = TLanes.Load(y4 + v2), s43 = TLanes.Load(y4 + v3);
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
            TVector evenX2 = TLanes.Broadcast(x2[k]);
            s20 = TLanes.Fma(even0, evenX2, s20);
            s21 = TLanes.Fma(even1, evenX2, s21);
            s22 = TLanes.Fma(even2, evenX2, s22);
            s23 = TLanes.Fma(even3, evenX2, s23);
            TVector evenX3 = TLanes.Broadcast(x3[k]);
            s30 = TLanes.Fma(even0, evenX3, s30);
            s31 = TLanes.Fma(even1, evenX3, s31);
            s32 = TLanes.Fma(even2, evenX3, s32);
            s33 = TLanes.Fma(even3, evenX3, s33);
            TVector evenX4 = TLanes.Broadcast(x4[k]);
            s40 = TLanes.Fma(even0, evenX4, s40);
            s41 = TLanes.Fma(even1, evenX4, s41);
            s42 = TLanes.Fma(even2, evenX4, s42);
            s43 = TLanes.Fma(even3, evenX4, s43);

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
            TVector oddX2 = TLanes.Broadcast(x2[k + 1]);
            s20 = TLanes.Fma(odd0, oddX2, s20);
            s21 = TLanes.Fma(odd1, oddX2, s21);
            s22 = TLanes.Fma(odd2, oddX2, s22);
            s23 = TLanes.Fma(odd3, oddX2, s23);
            TVector oddX3 = TLanes.Broadcast(x3[k + 1]);
            s30 = TLanes.Fma(odd0, oddX3, s30);
            s31 = TLanes.Fma(odd1, oddX3, s31);
            s32 = TLanes.Fma(odd2, oddX3, s32);
            s33 = TLanes.Fma(odd3, oddX3, s33);
            TVector oddX4 = TLanes.Broadcast(x4[k + 1]);
            s40 = TLanes.Fma(odd0, oddX4, s40);
            s41 = TLanes.Fma(odd1, oddX4, s41);
            s42 = TLanes.Fma(odd2, oddX4, s42);
            s43 = TLanes.Fma(odd3, oddX4, s43);
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
            s20 = TLanes.Fma(last0, TLanes.Broadcast(x2[k]), s20);
            s21 = TLanes.Fma(last1, TLanes.Broadcast(x2[k]), s21);
            s22 = TLanes.Fma(last2, TLanes.Broadcast(x2[k]), s22);
            s23 = TLanes.Fma(last3, TLanes.Broadcast(x2[k]), s23);
            s30 = TLanes.Fma(last0, TLanes.Broadcast(x3[k]), s30);
            s31 = TLanes.Fma(last1, TLanes.Broadcast(x3[k]), s31);
            s32 = TLanes.Fma(last2, TLanes.Broadcast(x3[k]), s32);
            s33 = TLanes.Fma(last3, TLanes.Broadcast(x3[k]), s33);
            s40 = TLanes.Fma(last0, TLanes.Broadcast(x4[k]), s40);
            s41 = TLanes.Fma(last1, TLanes.Broadcast(x4[k]), s41);
            s42 = TLanes.Fma(last2, TLanes.Broadcast(x4[k]), s42);
            s43 = TLanes.Fma(last3, TLanes.Broadcast(x4[k]), s43);
        }

        TLanes.Store(y0, s00);
        TLanes.Store(y0 + v1, s01);
        TLanes.Store(y0 + v2, s02);
        TLanes.Store(y0 + v3, s03);
        TLanes.Store(y1, s10);
        TLanes.Store(y1 + v1, s11);
        TLanes.Store(y1 + v2, s12);
        TLanes.Store(y1 + v3, s13);
        TLanes.Store(y2, s20);
        TLanes.Store(y2 + v1, s21);
        TLanes.Store(y2 + v2, s22);
        TLanes.Store(y2 + v3, s23);
        TLanes.Store(y3, s30);
        TLanes.Store(y3 + v1, s31);
        TLanes.Store(y3 + v2, s32);
        TLanes.Store(y3 + v3, s33);
        TLanes.Store(y4, s40);
        TLanes.Store(y4 + v1, s41);
        TLanes.Store(y4 + v2, s42);
        TLanes.Store(y4 + v3, s43);
    }
}
