using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class KvTile<TLanes, TVector, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TFormat : struct, IKvFormat
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1<TPrefetch>(in KvTile tile)
        where TPrefetch : struct, IKvPrefetch
    {
        float* x0 = tile.X;
        float* y0 = tile.Sums;
        long v1 = tile.Lane(1, TLanes.Width), v2 = tile.Lane(2, TLanes.Width), v3 = tile.Lane(3, TLanes.Width);
        TVector s00 = default, s01 = default, s02 = default, s03 = default;
        if (tile.Factors is not null)
        {
            TVector factor0 = TLanes.Broadcast(tile.Factors[0]);
            s00 = TLanes.Fma(TLanes.Load(y0), factor0, default);
            s01 = TLanes.Fma(TLanes.Load(y0 + v1), factor0, default);
            s02 = TLanes.Fma(TLanes.Load(y0 + v2), factor0, default);
            s03 = TLanes.Fma(TLanes.Load(y0 + v3), factor0, default);
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

                TVector odd0 = TFormat.Odd<TLanes, TVector>(w0);
                TVector odd1 = TFormat.Odd<TLanes, TVector>(w1);
                TVector odd2 = TFormat.Odd<TLanes, TVector>(w2);
                TVector odd3 = TFormat.Odd<TLanes, TVector>(w3);
                TVector oddX0 = TLanes.Broadcast(x0[k + 1]);
                s00 = TLanes.Fma(odd0, oddX0, s00);
                s01 = TLanes.Fma(odd1, oddX0, s01);
                s02 = TLanes.Fma(odd2, oddX0, s02);
                s03 = TLanes.Fma(odd3, oddX0, s03);
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
        }

        TLanes.Store(y0, s00);
        TLanes.Store(y0 + v1, s01);
        TLanes.Store(y0 + v2, s02);
        TLanes.Store(y0 + v3, s03);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2<TPrefetch>(in KvTile tile)
        where TPrefetch : struct, IKvPrefetch
    {
        float* x0 = tile.X, x1 = tile.X + (tile.Row(1) * tile.XStride);
        float* y0 = tile.Sums, y1 = tile.Sums + (tile.Row(1) * tile.SumStride);
        long v1 = tile.Lane(1, TLanes.Width), v2 = tile.Lane(2, TLanes.Width), v3 = tile.Lane(3, TLanes.Width);
        TVector s00 = default, s01 = default, s02 = default, s03 = default;
        TVector s10 = default, s11 = default, s12 = default, s13 = default;
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
