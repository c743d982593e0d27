using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal readonly unsafe partial struct BlockTile<TLanes, TVector, TBytes, TInt, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TBytes : struct, IByteLanes<TVector, TInt>
    where TInt : unmanaged
    where TFormat : struct, IBlockFormat
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(in BlockTileJob tile)
    {
        int recordBytes = RecordBytes, groupBytes = GroupBytes, headBytes = TFormat.HeadBytes, vectors = TFormat.Vectors, startFactor = StartFactor;
        long records = (long)(tile.First >> 1) * recordBytes;
        byte* p0 = tile.Panel0 + records;
        byte* p1 = tile.Panel1 + records;
        int l0 = tile.Lane0, l1 = tile.Lane1;
        int* x0 = tile.X.CodeRow(0, tile.First), totals0 = tile.X.SumRow(0);
        float* scales0 = tile.X.ScaleRow(0), y0 = tile.Sums + (0 * tile.SumStride);
        int* x1 = tile.X.CodeRow(Math.Min(1, tile.Rows - 1), tile.First), totals1 = tile.X.SumRow(Math.Min(1, tile.Rows - 1));
        float* scales1 = tile.X.ScaleRow(Math.Min(1, tile.Rows - 1)), y1 = tile.Sums + (Math.Min(1, tile.Rows - 1) * tile.SumStride);
        int* x2 = tile.X.CodeRow(Math.Min(2, tile.Rows - 1), tile.First), totals2 = tile.X.SumRow(Math.Min(2, tile.Rows - 1));
        float* scales2 = tile.X.ScaleRow(Math.Min(2, tile.Rows - 1)), y2 = tile.Sums + (Math.Min(2, tile.Rows - 1) * tile.SumStride);
        int* x3 = tile.X.CodeRow(Math.Min(3, tile.Rows - 1), tile.First), totals3 = tile.X.SumRow(Math.Min(3, tile.Rows - 1));
        float* scales3 = tile.X.ScaleRow(Math.Min(3, tile.Rows - 1)), y3 = tile.Sums + (Math.Min(3, tile.Rows - 1) * tile.SumStride);
        long v1 = Math.Min(1, tile.Vectors - 1) * TBytes.Width;
        for (int group = tile.First; group < tile.End; group++)
        {
            long place = headBytes + ((group & 1) * (long)groupBytes);
            byte* w0 = p0 + place + (4 * l0);
            byte* w1 = p1 + place + (4 * l1);
            Prefetch(p0 + place + tile.PrefetchBytes, l0);
            Prefetch(p1 + place + tile.PrefetchBytes, l1);
            TInt s00 = TBytes.Broadcast(startFactor * totals0[group]), s01 = s00;
            TInt s10 = TBytes.Broadcast(startFactor * totals1[group]), s11 = s10;
            TInt s20 = TBytes.Broadcast(startFactor * totals2[group]), s21 = s20;
            TInt s30 = TBytes.Broadcast(startFactor * totals3[group]), s31 = s30;
            for (int k = 0; k < vectors; k++)
            {
                TInt c0 = TBytes.Load(w0);
                TInt c1 = TBytes.Load(w1);
                if (IsNibbles)
                {
                    TInt u0 = TBytes.HighNibbles(c0);
                    c0 = TBytes.LowNibbles(c0);
                    TInt u1 = TBytes.HighNibbles(c1);
                    c1 = TBytes.LowNibbles(c1);
                    TInt lower0 = TBytes.Broadcast(x0[k]), upper0 = TBytes.Broadcast(x0[k + 4]);
                    s00 = TBytes.DotNibbles(s00, c0, lower0);
                    s01 = TBytes.DotNibbles(s01, c1, lower0);
                    s00 = TBytes.DotNibbles(s00, u0, upper0);
                    s01 = TBytes.DotNibbles(s01, u1, upper0);
                    TInt lower1 = TBytes.Broadcast(x1[k]), upper1 = TBytes.Broadcast(x1[k + 4]);
                    s10 = TBytes.DotNibbles(s10, c0, lower1);
                    s11 = TBytes.DotNibbles(s11, c1, lower1);
                    s10 = TBytes.DotNibbles(s10, u0, upper1);
                    s11 = TBytes.DotNibbles(s11, u1, upper1);
                    TInt lower2 = TBytes.Broadcast(x2[k]), upper2 = TBytes.Broadcast(x2[k + 4]);
                    s20 = TBytes.DotNibbles(s20, c0, lower2);
                    s21 = TBytes.DotNibbles(s21, c1, lower2);
                    s20 = TBytes.DotNibbles(s20, u0, upper2);
                    s21 = TBytes.DotNibbles(s21, u1, upper2);
                    TInt lower3 = TBytes.Broadcast(x3[k]), upper3 = TBytes.Broadcast(x3[k + 4]);
                    s30 = TBytes.DotNibbles(s30, c0, lower3);
                    s31 = TBytes.DotNibbles(s31, c1, lower3);
                    s30 = TBytes.DotNibbles(s30, u0, upper3);
                    s31 = TBytes.DotNibbles(s31, u1, upper3);
                }
                else
                {
                    TInt quad0 = TBytes.Broadcast(x0[k]);
                    s00 = TBytes.DotBytes(s00, c0, quad0);
                    s01 = TBytes.DotBytes(s01, c1, quad0);
                    TInt quad1 = TBytes.Broadcast(x1[k]);
                    s10 = TBytes.DotBytes(s10, c0, quad1);
                    s11 = TBytes.DotBytes(s11, c1, quad1);
                    TInt quad2 = TBytes.Broadcast(x2[k]);
                    s20 = TBytes.DotBytes(s20, c0, quad2);
                    s21 = TBytes.DotBytes(s21, c1, quad2);
                    TInt quad3 = TBytes.Broadcast(x3[k]);
                    s30 = TBytes.DotBytes(s30, c0, quad3);
                    s31 = TBytes.DotBytes(s31, c1, quad3);
                }

                w0 += 64;
                w1 += 64;
            }

            byte* h0 = p0 + (32 * (group & 1)) + (2 * l0);
            byte* h1 = p1 + (32 * (group & 1)) + (2 * l1);
            TVector scale0 = TBytes.Halves(h0);
            TVector scale1 = TBytes.Halves(h1);
            TVector t0 = TLanes.Broadcast(scales0[group]);
            TVector y00 = TLanes.Fma(TBytes.ToFloat(s00), TLanes.Multiply(scale0, t0), TLanes.Load(y0));
            TVector y01 = TLanes.Fma(TBytes.ToFloat(s01), TLanes.Multiply(scale1, t0), TLanes.Load(y0 + v1));
            TVector t1 = TLanes.Broadcast(scales1[group]);
            TVector y10 = TLanes.Fma(TBytes.ToFloat(s10), TLanes.Multiply(scale0, t1), TLanes.Load(y1));
            TVector y11 = TLanes.Fma(TBytes.ToFloat(s11), TLanes.Multiply(scale1, t1), TLanes.Load(y1 + v1));
            TVector t2 = TLanes.Broadcast(scales2[group]);
            TVector y20 = TLanes.Fma(TBytes.ToFloat(s20), TLanes.Multiply(scale0, t2), TLanes.Load(y2));
            TVector y21 = TLanes.Fma(TBytes.ToFloat(s21), TLanes.Multiply(scale1, t2), TLanes.Load(y2 + v1));
            TVector t3 = TLanes.Broadcast(scales3[group]);
            TVector y30 = TLanes.Fma(TBytes.ToFloat(s30), TLanes.Multiply(scale0, t3), TLanes.Load(y3));
            TVector y31 = TLanes.Fma(TBytes.ToFloat(s31), TLanes.Multiply(scale1, t3), TLanes.Load(y3 + v1));
            if (HasMinima)
            {
                TVector minimum0 = TBytes.Halves(h0 + 64);
                TVector minimum1 = TBytes.Halves(h1 + 64);
                TVector n0 = TLanes.Broadcast(-(scales0[group] * totals0[group]));
                y00 = TLanes.Fma(minimum0, n0, y00);
                y01 = TLanes.Fma(minimum1, n0, y01);
                TVector n1 = TLanes.Broadcast(-(scales1[group] * totals1[group]));
                y10 = TLanes.Fma(minimum0, n1, y10);
                y11 = TLanes.Fma(minimum1, n1, y11);
                TVector n2 = TLanes.Broadcast(-(scales2[group] * totals2[group]));
                y20 = TLanes.Fma(minimum0, n2, y20);
                y21 = TLanes.Fma(minimum1, n2, y21);
                TVector n3 = TLanes.Broadcast(-(scales3[group] * totals3[group]));
                y30 = TLanes.Fma(minimum0, n3, y30);
                y31 = TLanes.Fma(minimum1, n3, y31);
            }

            TLanes.Store(y0, y00);
            TLanes.Store(y0 + v1, y01);
            TLanes.Store(y1, y10);
            TLanes.Store(y1 + v1, y11);
            TLanes.Store(y2, y20);
            TLanes.Store(y2 + v1, y21);
            TLanes.Store(y3, y30);
            TLanes.Store(y3 + v1, y31);
            x0 += 8;
            x1 += 8;
            x2 += 8;
            x3 += 8;
            long step = (group & 1) * (long)recordBytes;
            p0 += step;
            p1 += step;
        }
    }
}
