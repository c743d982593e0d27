using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class KvTile<TLanes, TVector, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TFormat : struct, IKvFormat
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows6<TPrefetch>(in KvTile tile)
        where TPrefetch : struct, IKvPrefetch
    {
        float* x0 = tile.X, x1 = tile.X + (tile.Row(1) * tile.XStride), x2 = tile.X + (tile.Row(2) * tile.XStride), x3 = tile.X + (tile.Row(3) * tile.XStride), x4 = tile.X + (tile.Row(4) * tile.XStride), x5 = tile.X + (tile.Row(5) * tile.XStride);
        float* y0 = tile.Sums, y1 = tile.Sums + (tile.Row(1) * tile.SumStride), y2 = tile.Sums + (tile.Row(2) * tile.SumStride), y3 = tile.Sums + (tile.Row(3) * tile.SumStride), y4 = tile.Sums + (tile.Row(4) * tile.SumStride), y5 = tile.Sums + (tile.Row(5) * tile.SumStride);
        long v1 = tile.Lane(1, TLanes.Width), v2 = tile.Lane(2, TLanes.Width), v3 = tile.Lane(3, TLanes.Width);
        TVector s00 = default, s01 = default, s02 = default, s03 = default;
        TVector s10 = default, s11 = default, s12 = default, s13 = default;
        TVector s20 = default, s21 = default, s22 = default, s23 = default;
        TVector s30 = default, s31 = default, s32 = default, s33 = default;
        TVector s40 = default, s41 = default, s42 = default, s43 = default;
        TVector s50 = default, s51 = default, s52 = default, s53 = default;
        if (tile.Factors is not null)
        {
            TVector factor0 = TLanes.Broadcast(tile.Factors[0]);
            s00 = TLanes.Fma(TLanes.Load(y0), factor0, default);
            s01 = TLanes.Fma(TLanes.Load(y0 + v1), factor0, default);
            s02 = TLanes.Fma(TLanes.Load(y0 + v2), factor0, default);
            s03 = TLanes.Fma(TLanes.Load(y0 + v3), factor0, default);
            TVector factor1 = TLanes.Broadcast(tile.Factors[tile.Row(1)]);
            s10 = TLanes.Fma(TLanes.Load(y1), factor1, default);
            s11 = TLanes.Fma(TLanes.Load(y1 + v1), factor1, default);
            s12 = TLanes.Fma(TLanes.Load(y1 + v2), factor1, default);
            s13 = TLanes.Fma(TLanes.Load(y1 + v3), factor1, default);
            TVector factor2 = TLanes.Broadcast(tile.Factors[tile.Row(2)]);
            s20 = TLanes.Fma(TLanes.Load(y2), factor2, default);
            s21 = TLanes.Fma(TLanes.Load(y2 + v1), factor2, default);
            s22 = TLanes.Fma(TLanes.Load(y2 + v2), factor2, default);
            s23 = TLanes.Fma(TLanes.Load(y2 + v3), factor2, default);
            TVector factor3 = TLanes.Broadcast(tile.Factors[tile.Row(3)]);
            s30 = TLanes.Fma(TLanes.Load(y3), factor3, default);
            s31 = TLanes.Fma(TLanes.Load(y3 + v1), factor3, default);
            s32 = TLanes.Fma(TLanes.Load(y3 + v2), factor3, default);
            s33 = TLanes.Fma(TLanes.Load(y3 + v3), factor3, default);
            TVector factor4 = TLanes.Broadcast(tile.Factors[tile.Row(4)]);
            s40 = TLanes.Fma(TLanes.Load(y4), factor4, default);
            s41 = TLanes.Fma(TLanes.Load(y4 + v1), factor4, default);
            s42 = TLanes.Fma(TLanes.Load(y4 + v2), factor4, default);
            s43 = TLanes.Fma(TLanes.Load(y4 + v3), factor4, default);
            TVector factor5 = TLanes.Broadcast(tile.Factors[tile.Row(5)]);
            s50 = TLanes.Fma(TLanes.Load(y5), factor5, default);
            s51 = TLanes.Fma(TLanes.Load(y5 + v1), factor5, default);
            s52 = TLanes.Fma(TLanes.Load(y5 + v2), factor5, default);
            s53 = TLanes.Fma(TLanes.Load(y5 + v3), factor5, default);
        }

        byte* w0 = tile.Stream0, w1 = tile.Stream1, w2 = tile.Stream2, w3 = tile.Stream3;
        byte* f0 = tile.Next0, f1 = tile.Next1, f2 = tile.Next2, f3 = tile.Next3;
        long step = tile.Step, k = 0;
        for (int piece = 0; piece < tile.PieceCount; piece++)
        {
            KvPiece* at = tile.Pieces + piece;
            w0 = tile.Stream0 + at->Offset;
            w1 = tile.Stream1 + at->Offset;
            w2 = tile.Stream2 + at->Offset;
            w3 = tile.Stream3 + at->Offset;
            for (long end = k + (2L * at->Pairs); k < end; k += 2)
            {
                if (TPrefetch.IsOn)
                    Ask(ref f0, ref f1, ref f2, ref f3);
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
                TVector evenX5 = TLanes.Broadcast(x5[k]);
                s50 = TLanes.Fma(even0, evenX5, s50);
                s51 = TLanes.Fma(even1, evenX5, s51);
                s52 = TLanes.Fma(even2, evenX5, s52);
                s53 = TLanes.Fma(even3, evenX5, s53);

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
                TVector oddX5 = TLanes.Broadcast(x5[k + 1]);
                s50 = TLanes.Fma(odd0, oddX5, s50);
                s51 = TLanes.Fma(odd1, oddX5, s51);
                s52 = TLanes.Fma(odd2, oddX5, s52);
                s53 = TLanes.Fma(odd3, oddX5, s53);
                w0 += step;
                w1 += step;
                w2 += step;
                w3 += step;
            }
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
            s50 = TLanes.Fma(last0, TLanes.Broadcast(x5[k]), s50);
            s51 = TLanes.Fma(last1, TLanes.Broadcast(x5[k]), s51);
            s52 = TLanes.Fma(last2, TLanes.Broadcast(x5[k]), s52);
            s53 = TLanes.Fma(last3, TLanes.Broadcast(x5[k]), s53);
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
        TLanes.Store(y5, s50);
        TLanes.Store(y5 + v1, s51);
        TLanes.Store(y5 + v2, s52);
        TLanes.Store(y5 + v3, s53);
    }
}
