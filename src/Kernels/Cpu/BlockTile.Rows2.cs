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
    private static void Rows1(in BlockTileJob tile)
    {
        int recordBytes = RecordBytes, groupBytes = GroupBytes, headBytes = TFormat.HeadBytes, vectors = TFormat.Vectors, startFactor = StartFactor;
        long records = (long)(tile.First >> 1) * recordBytes;
        byte* p0 = tile.Panel0 + records;
        byte* p1 = tile.Panel1 + records;
        byte* p2 = tile.Panel2 + records;
        byte* p3 = tile.Panel3 + records;
        int l0 = tile.Lane0, l1 = tile.Lane1, l2 = tile.Lane2, l3 = tile.Lane3;
        int* x0 = tile.X.CodeRow(0, tile.First), totals0 = tile.X.SumRow(0);
        float* scales0 = tile.X.ScaleRow(0), y0 = tile.Sums + (0 * tile.SumStride);
        long v1 = Math.Min(1, tile.Vectors - 1) * TBytes.Width;
        long v2 = Math.Min(2, tile.Vectors - 1) * TBytes.Width;
        long v3 = Math.Min(3, tile.Vectors - 1) * TBytes.Width;
        for (int group = tile.First; group < tile.End; group++)
        {
            long place = headBytes + ((group & 1) * (long)groupBytes);
            byte* w0 = p0 + place + (4 * l0);
            byte* w1 = p1 + place + (4 * l1);
            byte* w2 = p2 + place + (4 * l2);
            byte* w3 = p3 + place + (4 * l3);
            Prefetch(p0 + place + tile.PrefetchBytes, l0);
            Prefetch(p1 + place + tile.PrefetchBytes, l1);
            Prefetch(p2 + place + tile.PrefetchBytes, l2);
            Prefetch(p3 + place + tile.PrefetchBytes, l3);
            TInt s00 = TBytes.Broadcast(startFactor * totals0[group]), s01 = s00, s02 = s00, s03 = s00;
            for (int k = 0; k < vectors; k++)
            {
                TInt c0 = TBytes.Load(w0);
                TInt c1 = TBytes.Load(w1);
                TInt c2 = TBytes.Load(w2);
                TInt c3 = TBytes.Load(w3);
                if (IsNibbles)
                {
                    TInt u0 = TBytes.HighNibbles(c0);
                    c0 = TBytes.LowNibbles(c0);
                    TInt u1 = TBytes.HighNibbles(c1);
                    c1 = TBytes.LowNibbles(c1);
                    TInt u2 = TBytes.HighNibbles(c2);
                    c2 = TBytes.LowNibbles(c2);
                    TInt u3 = TBytes.HighNibbles(c3);
                    c3 = TBytes.LowNibbles(c3);
                    TInt lower0 = TBytes.Broadcast(x0[k]), upper0 = TBytes.Broadcast(x0[k + 4]);
                    s00 = TBytes.DotNibbles(s00, c0, lower0);
                    s01 = TBytes.DotNibbles(s01, c1, lower0);
                    s02 = TBytes.DotNibbles(s02, c2, lower0);
                    s03 = TBytes.DotNibbles(s03, c3, lower0);
                    s00 = TBytes.DotNibbles(s00, u0, upper0);
                    s01 = TBytes.DotNibbles(s01, u1, upper0);
                    s02 = TBytes.DotNibbles(s02, u2, upper0);
                    s03 = TBytes.DotNibbles(s03, u3, upper0);
                }
                else
                {
                    TInt quad0 = TBytes.Broadcast(x0[k]);
                    s00 = TBytes.DotBytes(s00, c0, quad0);
                    s01 = TBytes.DotBytes(s01, c1, quad0);
                    s02 = TBytes.DotBytes(s02, c2, quad0);
                    s03 = TBytes.DotBytes(s03, c3, quad0);
                }

                w0 += 64;
                w1 += 64;
                w2 += 64;
                w3 += 64;
            }

            byte* h0 = p0 + (32 * (group & 1)) + (2 * l0);
            byte* h1 = p1 + (32 * (group & 1)) + (2 * l1);
            byte* h2 = p2 + (32 * (group & 1)) + (2 * l2);
            byte* h3 = p3 + (32 * (group & 1)) + (2 * l3);
            TVector scale0 = TBytes.Halves(h0);
            TVector scale1 = TBytes.Halves(h1);
            TVector scale2 = TBytes.Halves(h2);
            TVector scale3 = TBytes.Halves(h3);
            TVector t0 = TLanes.Broadcast(scales0[group]);
            TVector y00 = TLanes.Fma(TBytes.ToFloat(s00), TLanes.Multiply(scale0, t0), TLanes.Load(y0));
            TVector y01 = TLanes.Fma(TBytes.ToFloat(s01), TLanes.Multiply(scale1, t0), TLanes.Load(y0 + v1));
            TVector y02 = TLanes.Fma(TBytes.ToFloat(s02), TLanes.Multiply(scale2, t0), TLanes.Load(y0 + v2));
            TVector y03 = TLanes.Fma(TBytes.ToFloat(s03), TLanes.Multiply(scale3, t0), TLanes.Load(y0 + v3));
            if (HasMinima)
            {
                TVector minimum0 = TBytes.Halves(h0 + 64);
                TVector minimum1 = TBytes.Halves(h1 + 64);
                TVector minimum2 = TBytes.Halves(h2 + 64);
                TVector minimum3 = TBytes.Halves(h3 + 64);
                TVector n0 = TLanes.Broadcast(-(scales0[group] * totals0[group]));
                y00 = TLanes.Fma(minimum0, n0, y00);
                y01 = TLanes.Fma(minimum1, n0, y01);
                y02 = TLanes.Fma(minimum2, n0, y02);
                y03 = TLanes.Fma(minimum3, n0, y03);
            }

            TLanes.Store(y0, y00);
            TLanes.Store(y0 + v1, y01);
            TLanes.Store(y0 + v2, y02);
            TLanes.Store(y0 + v3, y03);
            x0 += 8;
            long step = (group & 1) * (long)recordBytes;
            p0 += step;
            p1 += step;
            p2 += step;
            p3 += step;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(in BlockTileJob tile)
    {
        int recordBytes = RecordBytes, groupBytes = GroupBytes, headBytes = TFormat.HeadBytes, vectors = TFormat.Vectors, startFactor = StartFactor;
        long records = (long)(tile.First >> 1) * recordBytes;
        byte* p0 = tile.Panel0 + records;
        byte* p1 = tile.Panel1 + records;
        byte* p2 = tile.Panel2 + records;
        byte* p3 = tile.Panel3 + records;
        int l0 = tile.Lane0, l1 = tile.Lane1, l2 = tile.Lane2, l3 = tile.Lane3;
        int* x0 = tile.X.CodeRow(0, tile.First), totals0 = tile.X.SumRow(0);
        float* scales0 = tile.X.ScaleRow(0), y0 = tile.Sums + (0 * tile.SumStride);
        int* x1 = tile.X.CodeRow(Math.Min(1, tile.Rows - 1), tile.First), totals1 = tile.X.SumRow(Math.Min(1, tile.Rows - 1));
        float* scales1 = tile.X.ScaleRow(Math.Min(1, tile.Rows - 1)), y1 = tile.Sums + (Math.Min(1, tile.Rows - 1) * tile.SumStride);
        long v1 = Math.Min(1, tile.Vectors - 1) * TBytes.Width;
        long v2 = Math.Min(2, tile.Vectors - 1) * TBytes.Width;
        long v3 = Math.Min(3, tile.Vectors - 1) * TBytes.Width;
        for (int group = tile.First; group < tile.End; group++)
        {
            long place = headBytes + ((group & 1) * (long)groupBytes);
            byte* w0 = p0 + place + (4 * l0);
            byte* w1 = p1 + place + (4 * l1);
            byte* w2 = p2 + place + (4 * l2);
            byte* w3 = p3 + place + (4 * l3);
            Prefetch(p0 + place + tile.PrefetchBytes, l0);
            Prefetch(p1 + place + tile.PrefetchBytes, l1);
            Prefetch(p2 + place + tile.PrefetchBytes, l2);
            Prefetch(p3 + place + tile.PrefetchBytes, l3);
            TInt s00 = TBytes.Broadcast(startFactor * totals0[group]), s01 = s00, s02 = s00, s03 = s00;
            TInt s10 = TBytes.Broadcast(startFactor * totals1[group]), s11 = s10, s12 = s10, s13 = s10;
            for (int k = 0; k < vectors; k++)
            {
                TInt c0 = TBytes.Load(w0);
                TInt c1 = TBytes.Load(w1);
                TInt c2 = TBytes.Load(w2);
                TInt c3 = TBytes.Load(w3);
                if (IsNibbles)
                {
                    TInt u0 = TBytes.HighNibbles(c0);
                    c0 = TBytes.LowNibbles(c0);
                    TInt u1 = TBytes.HighNibbles(c1);
                    c1 = TBytes.LowNibbles(c1);
                    TInt u2 = TBytes.HighNibbles(c2);
                    c2 = TBytes.LowNibbles(c2);
                    TInt u3 = TBytes.HighNibbles(c3);
                    c3 = TBytes.LowNibbles(c3);
                    TInt lower0 = TBytes.Broadcast(x0[k]), upper0 = TBytes.Broadcast(x0[k + 4]);
                    s00 = TBytes.DotNibbles(s00, c0, lower0);
                    s01 = TBytes.DotNibbles(s01, c1, lower0);
                    s02 = TBytes.DotNibbles(s02, c2, lower0);
                    s03 = TBytes.DotNibbles(s03, c3, lower0);
                    s00 = TBytes.DotNibbles(s00, u0, upper0);
                    s01 = TBytes.DotNibbles(s01, u1, upper0);
                    s02 = TBytes.DotNibbles(s02, u2, upper0);
                    s03 = TBytes.DotNibbles(s03, u3, upper0);
                    TInt lower1 = TBytes.Broadcast(x1[k]), upper1 = TBytes.Broadcast(x1[k + 4]);
                    s10 = TBytes.DotNibbles(s10, c0, lower1);
                    s11 = TBytes.DotNibbles(s11, c1, lower1);
                    s12 = TBytes.DotNibbles(s12, c2, lower1);
                    s13 = TBytes.DotNibbles(s13, c3, lower1);
                    s10 = TBytes.DotNibbles(s10, u0, upper1);
                    s11 = TBytes.DotNibbles(s11, u1, upper1);
                    s12 = TBytes.DotNibbles(s12, u2, upper1);
                    s13 = TBytes.DotNibbles(s13, u3, upper1);
                }
                else
                {
                    TInt quad0 = TBytes.Broadcast(x0[k]);
                    s00 = TBytes.DotBytes(s00, c0, quad0);
                    s01 = TBytes.DotBytes(s01, c1, quad0);
                    s02 = TBytes.DotBytes(s02, c2, quad0);
                    s03 = TBytes.DotBytes(s03, c3, quad0);
                    TInt quad1 = TBytes.Broadcast(x1[k]);
                    s10 = TBytes.DotBytes(s10, c0, quad1);
                    s11 = TBytes.DotBytes(s11, c1, quad1);
                    s12 = TBytes.DotBytes(s12, c2, quad1);
                    s13 = TBytes.DotBytes(s13, c3, quad1);
                }

                w0 += 64;
                w1 += 64;
                w2 += 64;
                w3 += 64;
            }

            byte* h0 = p0 + (32 * (group & 1)) + (2 * l0);
            byte* h1 = p1 + (32 * (group & 1)) + (2 * l1);
            byte* h2 = p2 + (32 * (group & 1)) + (2 * l2);
            byte* h3 = p3 + (32 * (group & 1)) + (2 * l3);
            TVector scale0 = TBytes.Halves(h0);
            TVector scale1 = TBytes.Halves(h1);
            TVector scale2 = TBytes.Halves(h2);
            TVector scale3 = TBytes.Halves(h3);
            TVector t0 = TLanes.Broadcast(scales0[group]);
            TVector y00 = TLanes.Fma(TBytes.ToFloat(s00), TLanes.Multiply(scale0, t0), TLanes.Load(y0));
            TVector y01 = TLanes.Fma(TBytes.ToFloat(s01), TLanes.Multiply(scale1, t0), TLanes.Load(y0 + v1));
            TVector y02 = TLanes.Fma(TBytes.ToFloat(s02), TLanes.Multiply(scale2, t0), TLanes.Load(y0 + v2));
            TVector y03 = TLanes.Fma(TBytes.ToFloat(s03), TLanes.Multiply(scale3, t0), TLanes.Load(y0 + v3));
            TVector t1 = TLanes.Broadcast(scales1[group]);
            TVector y10 = TLanes.Fma(TBytes.ToFloat(s10), TLanes.Multiply(scale0, t1), TLanes.Load(y1));
            TVector y11 = TLanes.Fma(TBytes.ToFloat(s11), TLanes.Multiply(scale1, t1), TLanes.Load(y1 + v1));
            TVector y12 = TLanes.Fma(TBytes.ToFloat(s12), TLanes.Multiply(scale2, t1), TLanes.Load(y1 + v2));
            TVector y13 = TLanes.Fma(TBytes.ToFloat(s13), TLanes.Multiply(scale3, t1), TLanes.Load(y1 + v3));
            if (HasMinima)
            {
                TVector minimum0 = TBytes.Halves(h0 + 64);
                TVector minimum1 = TBytes.Halves(h1 + 64);
                TVector minimum2 = TBytes.Halves(h2 + 64);
                TVector minimum3 = TBytes.Halves(h3 + 64);
                TVector n0 = TLanes.Broadcast(-(scales0[group] * totals0[group]));
                y00 = TLanes.Fma(minimum0, n0, y00);
                y01 = TLanes.Fma(minimum1, n0, y01);
                y02 = TLanes.Fma(minimum2, n0, y02);
                y03 = TLanes.Fma(minimum3, n0, y03);
                TVector n1 = TLanes.Broadcast(-(scales1[group] * totals1[group]));
                y10 = TLanes.Fma(minimum0, n1, y10);
                y11 = TLanes.Fma(minimum1, n1, y11);
                y12 = TLanes.Fma(minimum2, n1, y12);
                y13 = TLanes.Fma(minimum3, n1, y13);
            }

            TLanes.Store(y0, y00);
            TLanes.Store(y0 + v1, y01);
            TLanes.Store(y0 + v2, y02);
            TLanes.Store(y0 + v3, y03);
            TLanes.Store(y1, y10);
            TLanes.Store(y1 + v1, y11);
            TLanes.Store(y1 + v2, y12);
            TLanes.Store(y1 + v3, y13);
            x0 += 8;
            x1 += 8;
            long step = (group & 1) * (long)recordBytes;
            p0 += step;
            p1 += step;
            p2 += step;
            p3 += step;
        }
    }
}
