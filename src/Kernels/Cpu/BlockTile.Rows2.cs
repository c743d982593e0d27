using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class BlockTile<TLanes, TVector, TBytes, TInt, TFormat>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TBytes : struct, IByteLanes<TVector, TInt>
    where TInt : unmanaged
    where TFormat : struct, IBlockFormat
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(in BlockTileJob tile)
    {
        RowBlocks x = tile.X;
        byte* p0 = tile.Panel0, p1 = tile.Panel1, p2 = tile.Panel2, p3 = tile.Panel3;
        int l0 = tile.Lane0, l1 = tile.Lane1, l2 = tile.Lane2, l3 = tile.Lane3;
        const int r0 = 0;
        long v1 = Math.Min(1, tile.Vectors - 1) * TBytes.Width;
        long v2 = Math.Min(2, tile.Vectors - 1) * TBytes.Width;
        long v3 = Math.Min(3, tile.Vectors - 1) * TBytes.Width;
        float* y0 = tile.Sums + (r0 * tile.SumStride);
        TVector y00 = TLanes.Load(y0), y01 = TLanes.Load(y0 + v1), y02 = TLanes.Load(y0 + v2), y03 = TLanes.Load(y0 + v3);
        for (int group = tile.First; group < tile.End; group++)
        {
            byte* w0 = Codes(p0, group, l0);
            byte* w1 = Codes(p1, group, l1);
            byte* w2 = Codes(p2, group, l2);
            byte* w3 = Codes(p3, group, l3);
            Prefetch(w0 + tile.PrefetchBytes);
            Prefetch(w1 + tile.PrefetchBytes);
            Prefetch(w2 + tile.PrefetchBytes);
            Prefetch(w3 + tile.PrefetchBytes);
            int* x0 = x.CodeRow(r0, group);
            TInt s00 = Start(x, r0, group), s01 = s00, s02 = s00, s03 = s00;
            for (int k = 0; k < TFormat.Vectors; k++)
            {
                TInt c0 = TBytes.Load(w0 + (32 * k));
                TInt c1 = TBytes.Load(w1 + (32 * k));
                TInt c2 = TBytes.Load(w2 + (32 * k));
                TInt c3 = TBytes.Load(w3 + (32 * k));
                if (TFormat.IsNibbles)
                {
                    TInt upper0 = TBytes.Broadcast(x0[k + 4]);
                    TInt u0 = TBytes.HighNibbles(c0);
                    c0 = TBytes.LowNibbles(c0);
                    s00 = Dot(s00, u0, upper0);
                    TInt u1 = TBytes.HighNibbles(c1);
                    c1 = TBytes.LowNibbles(c1);
                    s01 = Dot(s01, u1, upper0);
                    TInt u2 = TBytes.HighNibbles(c2);
                    c2 = TBytes.LowNibbles(c2);
                    s02 = Dot(s02, u2, upper0);
                    TInt u3 = TBytes.HighNibbles(c3);
                    c3 = TBytes.LowNibbles(c3);
                    s03 = Dot(s03, u3, upper0);
                }

                TInt lower0 = TBytes.Broadcast(x0[k]);
                s00 = Dot(s00, c0, lower0);
                s01 = Dot(s01, c1, lower0);
                s02 = Dot(s02, c2, lower0);
                s03 = Dot(s03, c3, lower0);
            }

            TVector scale0 = Scale(p0, group, l0);
            TVector scale1 = Scale(p1, group, l1);
            TVector scale2 = Scale(p2, group, l2);
            TVector scale3 = Scale(p3, group, l3);
            float f0 = x.ScaleRow(r0)[group];
            TVector t0 = TLanes.Broadcast(f0), n0 = NegativeTotal(f0, x.SumRow(r0)[group]);
            y00 = AddMinimum(AddGroup(y00, s00, scale0, t0), p0, group, l0, n0);
            y01 = AddMinimum(AddGroup(y01, s01, scale1, t0), p1, group, l1, n0);
            y02 = AddMinimum(AddGroup(y02, s02, scale2, t0), p2, group, l2, n0);
            y03 = AddMinimum(AddGroup(y03, s03, scale3, t0), p3, group, l3, n0);
        }

        TLanes.Store(y0, y00);
        TLanes.Store(y0 + v1, y01);
        TLanes.Store(y0 + v2, y02);
        TLanes.Store(y0 + v3, y03);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(in BlockTileJob tile)
    {
        RowBlocks x = tile.X;
        byte* p0 = tile.Panel0, p1 = tile.Panel1, p2 = tile.Panel2, p3 = tile.Panel3;
        int l0 = tile.Lane0, l1 = tile.Lane1, l2 = tile.Lane2, l3 = tile.Lane3;
        const int r0 = 0;
        int r1 = Math.Min(1, tile.Rows - 1);
        long v1 = Math.Min(1, tile.Vectors - 1) * TBytes.Width;
        long v2 = Math.Min(2, tile.Vectors - 1) * TBytes.Width;
        long v3 = Math.Min(3, tile.Vectors - 1) * TBytes.Width;
        float* y0 = tile.Sums + (r0 * tile.SumStride);
        TVector y00 = TLanes.Load(y0), y01 = TLanes.Load(y0 + v1), y02 = TLanes.Load(y0 + v2), y03 = TLanes.Load(y0 + v3);
        float* y1 = tile.Sums + (r1 * tile.SumStride);
        TVector y10 = TLanes.Load(y1), y11 = TLanes.Load(y1 + v1), y12 = TLanes.Load(y1 + v2), y13 = TLanes.Load(y1 + v3);
        for (int group = tile.First; group < tile.End; group++)
        {
            byte* w0 = Codes(p0, group, l0);
            byte* w1 = Codes(p1, group, l1);
            byte* w2 = Codes(p2, group, l2);
            byte* w3 = Codes(p3, group, l3);
            Prefetch(w0 + tile.PrefetchBytes);
            Prefetch(w1 + tile.PrefetchBytes);
            Prefetch(w2 + tile.PrefetchBytes);
            Prefetch(w3 + tile.PrefetchBytes);
            int* x0 = x.CodeRow(r0, group);
            TInt s00 = Start(x, r0, group), s01 = s00, s02 = s00, s03 = s00;
            int* x1 = x.CodeRow(r1, group);
            TInt s10 = Start(x, r1, group), s11 = s10, s12 = s10, s13 = s10;
            for (int k = 0; k < TFormat.Vectors; k++)
            {
                TInt c0 = TBytes.Load(w0 + (32 * k));
                TInt c1 = TBytes.Load(w1 + (32 * k));
                TInt c2 = TBytes.Load(w2 + (32 * k));
                TInt c3 = TBytes.Load(w3 + (32 * k));
                if (TFormat.IsNibbles)
                {
                    TInt upper0 = TBytes.Broadcast(x0[k + 4]);
                    TInt upper1 = TBytes.Broadcast(x1[k + 4]);
                    TInt u0 = TBytes.HighNibbles(c0);
                    c0 = TBytes.LowNibbles(c0);
                    s00 = Dot(s00, u0, upper0);
                    s10 = Dot(s10, u0, upper1);
                    TInt u1 = TBytes.HighNibbles(c1);
                    c1 = TBytes.LowNibbles(c1);
                    s01 = Dot(s01, u1, upper0);
                    s11 = Dot(s11, u1, upper1);
                    TInt u2 = TBytes.HighNibbles(c2);
                    c2 = TBytes.LowNibbles(c2);
                    s02 = Dot(s02, u2, upper0);
                    s12 = Dot(s12, u2, upper1);
                    TInt u3 = TBytes.HighNibbles(c3);
                    c3 = TBytes.LowNibbles(c3);
                    s03 = Dot(s03, u3, upper0);
                    s13 = Dot(s13, u3, upper1);
                }

                TInt lower0 = TBytes.Broadcast(x0[k]);
                s00 = Dot(s00, c0, lower0);
                s01 = Dot(s01, c1, lower0);
                s02 = Dot(s02, c2, lower0);
                s03 = Dot(s03, c3, lower0);
                TInt lower1 = TBytes.Broadcast(x1[k]);
                s10 = Dot(s10, c0, lower1);
                s11 = Dot(s11, c1, lower1);
                s12 = Dot(s12, c2, lower1);
                s13 = Dot(s13, c3, lower1);
            }

            TVector scale0 = Scale(p0, group, l0);
            TVector scale1 = Scale(p1, group, l1);
            TVector scale2 = Scale(p2, group, l2);
            TVector scale3 = Scale(p3, group, l3);
            float f0 = x.ScaleRow(r0)[group];
            TVector t0 = TLanes.Broadcast(f0), n0 = NegativeTotal(f0, x.SumRow(r0)[group]);
            y00 = AddMinimum(AddGroup(y00, s00, scale0, t0), p0, group, l0, n0);
            y01 = AddMinimum(AddGroup(y01, s01, scale1, t0), p1, group, l1, n0);
            y02 = AddMinimum(AddGroup(y02, s02, scale2, t0), p2, group, l2, n0);
            y03 = AddMinimum(AddGroup(y03, s03, scale3, t0), p3, group, l3, n0);
            float f1 = x.ScaleRow(r1)[group];
            TVector t1 = TLanes.Broadcast(f1), n1 = NegativeTotal(f1, x.SumRow(r1)[group]);
            y10 = AddMinimum(AddGroup(y10, s10, scale0, t1), p0, group, l0, n1);
            y11 = AddMinimum(AddGroup(y11, s11, scale1, t1), p1, group, l1, n1);
            y12 = AddMinimum(AddGroup(y12, s12, scale2, t1), p2, group, l2, n1);
            y13 = AddMinimum(AddGroup(y13, s13, scale3, t1), p3, group, l3, n1);
        }

        TLanes.Store(y0, y00);
        TLanes.Store(y0 + v1, y01);
        TLanes.Store(y0 + v2, y02);
        TLanes.Store(y0 + v3, y03);
        TLanes.Store(y1, y10);
        TLanes.Store(y1 + v1, y11);
        TLanes.Store(y1 + v2, y12);
        TLanes.Store(y1 + v3, y13);
    }
}
