using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

internal readonly unsafe partial struct Int4Tile512<TFormat>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(in BlockTileJob tile)
    {
        byte* w0 = Codes(tile.Panel0, tile.First), w1 = Codes(tile.Panel1, tile.First), w2 = Codes(tile.Panel2, tile.First), w3 = Codes(tile.Panel3, tile.First);
        int* x0 = tile.X.CodeRow(0, tile.First), totals0 = tile.X.SumRow(0);
        float* scales0 = tile.X.ScaleRow(0);
        float* y00 = tile.Sums, y01 = Block512.SumLane(tile, 1), y02 = Block512.SumLane(tile, 2), y03 = Block512.SumLane(tile, 3);
        Vector512<float> s00 = Vector512.Load(y00), s01 = Vector512.Load(y01), s02 = Vector512.Load(y02), s03 = Vector512.Load(y03);
        int* x1 = tile.X.CodeRow(1, tile.First), totals1 = tile.X.SumRow(1);
        float* scales1 = tile.X.ScaleRow(1);
        float* y10 = y00 + (1 * tile.SumStride), y11 = y10 + (y01 - y00), y12 = y10 + (y02 - y00), y13 = y10 + (y03 - y00);
        Vector512<float> s10 = Vector512.Load(y10), s11 = Vector512.Load(y11), s12 = Vector512.Load(y12), s13 = Vector512.Load(y13);
        Vector512<byte> lower = Vector512.Create((byte)15);
        long ahead = tile.PrefetchBytes;
        for (int group = tile.First; group < tile.End; group++)
        {
            Vector512<short> a00 = default, a01 = default, a02 = default, a03 = default;
            Vector512<short> a10 = default, a11 = default, a12 = default, a13 = default;
            for (long k = 0; k < Quads; k++)
            {
                CacheHint.Read(w0 + (64 * k) + ahead);
                CacheHint.Read(w1 + (64 * k) + ahead);
                CacheHint.Read(w2 + (64 * k) + ahead);
                CacheHint.Read(w3 + (64 * k) + ahead);
                Vector512<byte> c0 = Vector512.Load(w0 + (64 * k)), u0 = Upper(c0) & lower;
                c0 &= lower;
                Vector512<byte> c1 = Vector512.Load(w1 + (64 * k)), u1 = Upper(c1) & lower;
                c1 &= lower;
                Vector512<byte> c2 = Vector512.Load(w2 + (64 * k)), u2 = Upper(c2) & lower;
                c2 &= lower;
                Vector512<byte> c3 = Vector512.Load(w3 + (64 * k)), u3 = Upper(c3) & lower;
                c3 &= lower;
                Vector512<sbyte> quad = Quad(x0 + k);
                a00 += Products(c0, quad);
                a01 += Products(c1, quad);
                a02 += Products(c2, quad);
                a03 += Products(c3, quad);
                quad = Quad(x0 + k + Quads);
                a00 += Products(u0, quad);
                a01 += Products(u1, quad);
                a02 += Products(u2, quad);
                a03 += Products(u3, quad);
                quad = Quad(x1 + k);
                a10 += Products(c0, quad);
                a11 += Products(c1, quad);
                a12 += Products(c2, quad);
                a13 += Products(c3, quad);
                quad = Quad(x1 + k + Quads);
                a10 += Products(u0, quad);
                a11 += Products(u1, quad);
                a12 += Products(u2, quad);
                a13 += Products(u3, quad);
            }

            // The line after the group: perhaps the next record's head. In this order, so that streams only go forward.
            CacheHint.Read(w0 + ahead + 256);
            CacheHint.Read(w1 + ahead + 256);
            CacheHint.Read(w2 + ahead + 256);
            CacheHint.Read(w3 + ahead + 256);

            long head = Block512.BackToScales<TFormat>(group), step = Block512.Step<TFormat>(group);
            Vector512<float> scale0 = Block512.Halves(w0 - head), scale1 = Block512.Halves(w1 - head), scale2 = Block512.Halves(w2 - head), scale3 = Block512.Halves(w3 - head);
            Vector512<float> minimum0 = Minima(w0 - head), minimum1 = Minima(w1 - head), minimum2 = Minima(w2 - head), minimum3 = Minima(w3 - head);
            Vector512<int> start = Start(totals0[group]);
            Vector512<float> t = Vector512.Create(scales0[group]);
            s00 = Add(s00, a00, start, scale0 * t);
            s01 = Add(s01, a01, start, scale1 * t);
            s02 = Add(s02, a02, start, scale2 * t);
            s03 = Add(s03, a03, start, scale3 * t);
            if (HasMinima)
            {
                t = Vector512.Create(-(scales0[group] * totals0[group]));
                s00 = Avx512F.FusedMultiplyAdd(minimum0, t, s00);
                s01 = Avx512F.FusedMultiplyAdd(minimum1, t, s01);
                s02 = Avx512F.FusedMultiplyAdd(minimum2, t, s02);
                s03 = Avx512F.FusedMultiplyAdd(minimum3, t, s03);
            }
            x0 += 2 * Quads;
            start = Start(totals1[group]);
            t = Vector512.Create(scales1[group]);
            s10 = Add(s10, a10, start, scale0 * t);
            s11 = Add(s11, a11, start, scale1 * t);
            s12 = Add(s12, a12, start, scale2 * t);
            s13 = Add(s13, a13, start, scale3 * t);
            if (HasMinima)
            {
                t = Vector512.Create(-(scales1[group] * totals1[group]));
                s10 = Avx512F.FusedMultiplyAdd(minimum0, t, s10);
                s11 = Avx512F.FusedMultiplyAdd(minimum1, t, s11);
                s12 = Avx512F.FusedMultiplyAdd(minimum2, t, s12);
                s13 = Avx512F.FusedMultiplyAdd(minimum3, t, s13);
            }
            x1 += 2 * Quads;
            w0 += step;
            w1 += step;
            w2 += step;
            w3 += step;
        }

        s00.Store(y00);
        s01.Store(y01);
        s02.Store(y02);
        s03.Store(y03);
        s10.Store(y10);
        s11.Store(y11);
        s12.Store(y12);
        s13.Store(y13);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(in BlockTileJob tile)
    {
        byte* w0 = Codes(tile.Panel0, tile.First), w1 = Codes(tile.Panel1, tile.First);
        int* x0 = tile.X.CodeRow(0, tile.First), totals0 = tile.X.SumRow(0);
        float* scales0 = tile.X.ScaleRow(0);
        float* y00 = tile.Sums, y01 = Block512.SumLane(tile, 1);
        Vector512<float> s00 = Vector512.Load(y00), s01 = Vector512.Load(y01);
        int* x1 = tile.X.CodeRow(1, tile.First), totals1 = tile.X.SumRow(1);
        float* scales1 = tile.X.ScaleRow(1);
        float* y10 = y00 + (1 * tile.SumStride), y11 = y10 + (y01 - y00);
        Vector512<float> s10 = Vector512.Load(y10), s11 = Vector512.Load(y11);
        int* x2 = tile.X.CodeRow(2, tile.First), totals2 = tile.X.SumRow(2);
        float* scales2 = tile.X.ScaleRow(2);
        float* y20 = y00 + (2 * tile.SumStride), y21 = y20 + (y01 - y00);
        Vector512<float> s20 = Vector512.Load(y20), s21 = Vector512.Load(y21);
        int r3 = Math.Min(3, tile.Rows - 1);
        int* x3 = tile.X.CodeRow(r3, tile.First), totals3 = tile.X.SumRow(r3);
        float* scales3 = tile.X.ScaleRow(r3);
        float* y30 = y00 + (r3 * tile.SumStride), y31 = y30 + (y01 - y00);
        Vector512<float> s30 = Vector512.Load(y30), s31 = Vector512.Load(y31);
        Vector512<byte> lower = Vector512.Create((byte)15);
        long ahead = tile.PrefetchBytes;
        for (int group = tile.First; group < tile.End; group++)
        {
            Vector512<short> a00 = default, a01 = default;
            Vector512<short> a10 = default, a11 = default;
            Vector512<short> a20 = default, a21 = default;
            Vector512<short> a30 = default, a31 = default;
            for (long k = 0; k < Quads; k++)
            {
                CacheHint.Read(w0 + (64 * k) + ahead);
                CacheHint.Read(w1 + (64 * k) + ahead);
                Vector512<byte> c0 = Vector512.Load(w0 + (64 * k)), u0 = Upper(c0) & lower;
                c0 &= lower;
                Vector512<byte> c1 = Vector512.Load(w1 + (64 * k)), u1 = Upper(c1) & lower;
                c1 &= lower;
                Vector512<sbyte> quad = Quad(x0 + k);
                a00 += Products(c0, quad);
                a01 += Products(c1, quad);
                quad = Quad(x0 + k + Quads);
                a00 += Products(u0, quad);
                a01 += Products(u1, quad);
                quad = Quad(x1 + k);
                a10 += Products(c0, quad);
                a11 += Products(c1, quad);
                quad = Quad(x1 + k + Quads);
                a10 += Products(u0, quad);
                a11 += Products(u1, quad);
                quad = Quad(x2 + k);
                a20 += Products(c0, quad);
                a21 += Products(c1, quad);
                quad = Quad(x2 + k + Quads);
                a20 += Products(u0, quad);
                a21 += Products(u1, quad);
                quad = Quad(x3 + k);
                a30 += Products(c0, quad);
                a31 += Products(c1, quad);
                quad = Quad(x3 + k + Quads);
                a30 += Products(u0, quad);
                a31 += Products(u1, quad);
            }

            // The line after the group: perhaps the next record's head. In this order, so that streams only go forward.
            CacheHint.Read(w0 + ahead + 256);
            CacheHint.Read(w1 + ahead + 256);

            long head = Block512.BackToScales<TFormat>(group), step = Block512.Step<TFormat>(group);
            Vector512<float> scale0 = Block512.Halves(w0 - head), scale1 = Block512.Halves(w1 - head);
            Vector512<float> minimum0 = Minima(w0 - head), minimum1 = Minima(w1 - head);
            Vector512<int> start = Start(totals0[group]);
            Vector512<float> t = Vector512.Create(scales0[group]);
            s00 = Add(s00, a00, start, scale0 * t);
            s01 = Add(s01, a01, start, scale1 * t);
            if (HasMinima)
            {
                t = Vector512.Create(-(scales0[group] * totals0[group]));
                s00 = Avx512F.FusedMultiplyAdd(minimum0, t, s00);
                s01 = Avx512F.FusedMultiplyAdd(minimum1, t, s01);
            }
            x0 += 2 * Quads;
            start = Start(totals1[group]);
            t = Vector512.Create(scales1[group]);
            s10 = Add(s10, a10, start, scale0 * t);
            s11 = Add(s11, a11, start, scale1 * t);
            if (HasMinima)
            {
                t = Vector512.Create(-(scales1[group] * totals1[group]));
                s10 = Avx512F.FusedMultiplyAdd(minimum0, t, s10);
                s11 = Avx512F.FusedMultiplyAdd(minimum1, t, s11);
            }
            x1 += 2 * Quads;
            start = Start(totals2[group]);
            t = Vector512.Create(scales2[group]);
            s20 = Add(s20, a20, start, scale0 * t);
            s21 = Add(s21, a21, start, scale1 * t);
            if (HasMinima)
            {
                t = Vector512.Create(-(scales2[group] * totals2[group]));
                s20 = Avx512F.FusedMultiplyAdd(minimum0, t, s20);
                s21 = Avx512F.FusedMultiplyAdd(minimum1, t, s21);
            }
            x2 += 2 * Quads;
            start = Start(totals3[group]);
            t = Vector512.Create(scales3[group]);
            s30 = Add(s30, a30, start, scale0 * t);
            s31 = Add(s31, a31, start, scale1 * t);
            if (HasMinima)
            {
                t = Vector512.Create(-(scales3[group] * totals3[group]));
                s30 = Avx512F.FusedMultiplyAdd(minimum0, t, s30);
                s31 = Avx512F.FusedMultiplyAdd(minimum1, t, s31);
            }
            x3 += 2 * Quads;
            w0 += step;
            w1 += step;
        }

        s00.Store(y00);
        s01.Store(y01);
        s10.Store(y10);
        s11.Store(y11);
        s20.Store(y20);
        s21.Store(y21);
        s30.Store(y30);
        s31.Store(y31);
    }
}
