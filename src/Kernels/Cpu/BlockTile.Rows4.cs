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
    private static void Rows4(in BlockTileJob tile)
    {
        RowBlocks x = tile.X;
        byte* p0 = tile.Panel0, p1 = tile.Panel1;
        int l0 = tile.Lane0, l1 = tile.Lane1;
        const int r0 = 0;
        int r1 = Math.Min(1, tile.Rows - 1);
        int r2 = Math.Min(2, tile.Rows - 1);
        int r3 = Math.Min(3, tile.Rows - 1);
        long v1 = Math.Min(1, tile.Vectors - 1) * TBytes.Width;
        float* y0 = tile.Sums + (r0 * tile.SumStride);
        TVector y00 = TLanes.Load(y0), y01 = TLanes.Load(y0 + v1);
        float* y1 = tile.Sums + (r1 * tile.SumStride);
        TVector y10 = TLanes.Load(y1), y11 = TLanes.Load(y1 + v1);
        float* y2 = tile.Sums + (r2 * tile.SumStride);
        TVector y20 = TLanes.Load(y2), y21 = TLanes.Load(y2 + v1);
        float* y3 = tile.Sums + (r3 * tile.SumStride);
        TVector y30 = TLanes.Load(y3), y31 = TLanes.Load(y3 + v1);
        for (int group = tile.First; group < tile.End; group++)
        {
            byte* w0 = Codes(p0, group, l0);
            byte* w1 = Codes(p1, group, l1);
            Prefetch(w0 + tile.PrefetchBytes);
            Prefetch(w1 + tile.PrefetchBytes);
            int* x0 = x.CodeRow(r0, group);
            TInt s00 = Start(x, r0, group), s01 = s00;
            int* x1 = x.CodeRow(r1, group);
            TInt s10 = Start(x, r1, group), s11 = s10;
            int* x2 = x.CodeRow(r2, group);
            TInt s20 = Start(x, r2, group), s21 = s20;
            int* x3 = x.CodeRow(r3, group);
            TInt s30 = Start(x, r3, group), s31 = s30;
            for (int k = 0; k < TFormat.Vectors; k++)
            {
                TInt c0 = TBytes.Load(w0 + (32 * k));
                TInt c1 = TBytes.Load(w1 + (32 * k));
                if (TFormat.IsNibbles)
                {
                    TInt upper0 = TBytes.Broadcast(x0[k + 4]);
                    TInt upper1 = TBytes.Broadcast(x1[k + 4]);
                    TInt upper2 = TBytes.Broadcast(x2[k + 4]);
                    TInt upper3 = TBytes.Broadcast(x3[k + 4]);
                    TInt u0 = TBytes.HighNibbles(c0);
                    c0 = TBytes.LowNibbles(c0);
                    s00 = Dot(s00, u0, upper0);
                    s10 = Dot(s10, u0, upper1);
                    s20 = Dot(s20, u0, upper2);
                    s30 = Dot(s30, u0, upper3);
                    TInt u1 = TBytes.HighNibbles(c1);
                    c1 = TBytes.LowNibbles(c1);
                    s01 = Dot(s01, u1, upper0);
                    s11 = Dot(s11, u1, upper1);
                    s21 = Dot(s21, u1, upper2);
                    s31 = Dot(s31, u1, upper3);
                }

                TInt lower0 = TBytes.Broadcast(x0[k]);
                s00 = Dot(s00, c0, lower0);
                s01 = Dot(s01, c1, lower0);
                TInt lower1 = TBytes.Broadcast(x1[k]);
                s10 = Dot(s10, c0, lower1);
                s11 = Dot(s11, c1, lower1);
                TInt lower2 = TBytes.Broadcast(x2[k]);
                s20 = Dot(s20, c0, lower2);
                s21 = Dot(s21, c1, lower2);
                TInt lower3 = TBytes.Broadcast(x3[k]);
                s30 = Dot(s30, c0, lower3);
                s31 = Dot(s31, c1, lower3);
            }

            TVector scale0 = Scale(p0, group, l0);
            TVector scale1 = Scale(p1, group, l1);
            float f0 = x.ScaleRow(r0)[group];
            TVector t0 = TLanes.Broadcast(f0), n0 = NegativeTotal(f0, x.SumRow(r0)[group]);
            y00 = AddMinimum(AddGroup(y00, s00, scale0, t0), p0, group, l0, n0);
            y01 = AddMinimum(AddGroup(y01, s01, scale1, t0), p1, group, l1, n0);
            float f1 = x.ScaleRow(r1)[group];
            TVector t1 = TLanes.Broadcast(f1), n1 = NegativeTotal(f1, x.SumRow(r1)[group]);
            y10 = AddMinimum(AddGroup(y10, s10, scale0, t1), p0, group, l0, n1);
            y11 = AddMinimum(AddGroup(y11, s11, scale1, t1), p1, group, l1, n1);
            float f2 = x.ScaleRow(r2)[group];
            TVector t2 = TLanes.Broadcast(f2), n2 = NegativeTotal(f2, x.SumRow(r2)[group]);
            y20 = AddMinimum(AddGroup(y20, s20, scale0, t2), p0, group, l0, n2);
            y21 = AddMinimum(AddGroup(y21, s21, scale1, t2), p1, group, l1, n2);
            float f3 = x.ScaleRow(r3)[group];
            TVector t3 = TLanes.Broadcast(f3), n3 = NegativeTotal(f3, x.SumRow(r3)[group]);
            y30 = AddMinimum(AddGroup(y30, s30, scale0, t3), p0, group, l0, n3);
            y31 = AddMinimum(AddGroup(y31, s31, scale1, t3), p1, group, l1, n3);
        }

        TLanes.Store(y0, y00);
        TLanes.Store(y0 + v1, y01);
        TLanes.Store(y1, y10);
        TLanes.Store(y1 + v1, y11);
        TLanes.Store(y2, y20);
        TLanes.Store(y2 + v1, y21);
        TLanes.Store(y3, y30);
        TLanes.Store(y3 + v1, y31);
    }
}
