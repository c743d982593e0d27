using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Cpu;

internal readonly unsafe partial struct Int8Tile512
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows4(in BlockTileJob tile)
    {
        byte* w = Codes(tile.Panel0, tile.First);
        const int R2 = 2;
        int r3 = Math.Min(3, tile.Rows - 1);
        int* x0 = tile.X.CodeRow(0, tile.First), x1 = tile.X.CodeRow(1, tile.First), x2 = tile.X.CodeRow(R2, tile.First), x3 = tile.X.CodeRow(r3, tile.First);
        int* totals0 = tile.X.SumRow(0), totals1 = tile.X.SumRow(1), totals2 = tile.X.SumRow(R2), totals3 = tile.X.SumRow(r3);
        float* scales0 = tile.X.ScaleRow(0), scales1 = tile.X.ScaleRow(1), scales2 = tile.X.ScaleRow(R2), scales3 = tile.X.ScaleRow(r3);
        float* y0 = tile.Sums, y1 = y0 + tile.SumStride, y2 = y0 + (R2 * tile.SumStride), y3 = y0 + (r3 * tile.SumStride);
        Vector512<float> s0 = Vector512.Load(y0), s1 = Vector512.Load(y1), s2 = Vector512.Load(y2), s3 = Vector512.Load(y3);
        long ahead = tile.PrefetchBytes;
        for (int group = tile.First; group < tile.End; group++)
        {
            Vector256<int> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            for (long k = 0; k < Quads; k++)
            {
                CacheHint.Read(w + (64 * k) + ahead);
                Vector256<int> quad = Vector256.Create(x0[k]);
                a0 = Dot(a0, w + (64 * k), quad);
                b0 = Dot(b0, w + (64 * k) + 32, quad);
                quad = Vector256.Create(x1[k]);
                a1 = Dot(a1, w + (64 * k), quad);
                b1 = Dot(b1, w + (64 * k) + 32, quad);
                quad = Vector256.Create(x2[k]);
                a2 = Dot(a2, w + (64 * k), quad);
                b2 = Dot(b2, w + (64 * k) + 32, quad);
                quad = Vector256.Create(x3[k]);
                a3 = Dot(a3, w + (64 * k), quad);
                b3 = Dot(b3, w + (64 * k) + 32, quad);
            }

            // The line after the group: perhaps the next record's head. In this order, so that streams only go forward.
            CacheHint.Read(w + ahead + 512);

            Vector512<float> scale = Block512.Halves(w - Head(group));
            s0 = Add(s0, a0, b0, Vector512.Create(-128 * totals0[group]), scale * Vector512.Create(scales0[group]));
            s1 = Add(s1, a1, b1, Vector512.Create(-128 * totals1[group]), scale * Vector512.Create(scales1[group]));
            s2 = Add(s2, a2, b2, Vector512.Create(-128 * totals2[group]), scale * Vector512.Create(scales2[group]));
            s3 = Add(s3, a3, b3, Vector512.Create(-128 * totals3[group]), scale * Vector512.Create(scales3[group]));
            w += Step(group);
            x0 += Quads;
            x1 += Quads;
            x2 += Quads;
            x3 += Quads;
        }

        s0.Store(y0);
        s1.Store(y1);
        s2.Store(y2);
        s3.Store(y3);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows6(in BlockTileJob tile)
    {
        byte* w = Codes(tile.Panel0, tile.First);
        int r5 = Math.Min(5, tile.Rows - 1);
        int* x = tile.X.CodeRow(0, tile.First);
        long row = tile.X.CodeRow(1, tile.First) - x, row2 = 2 * row, row3 = 3 * row, row4 = 4 * row, last = r5 * row, groups = tile.X.SumRow(1) - tile.X.SumRow(0);
        int* totals = tile.X.SumRow(0) + tile.First;
        float* scales = tile.X.ScaleRow(0) + tile.First;
        float* y0 = tile.Sums, y1 = y0 + tile.SumStride, y2 = y1 + tile.SumStride, y3 = y2 + tile.SumStride, y4 = y3 + tile.SumStride, y5 = y0 + (r5 * tile.SumStride);
        Vector512<float> s0 = Vector512.Load(y0), s1 = Vector512.Load(y1), s2 = Vector512.Load(y2);
        Vector512<float> s3 = Vector512.Load(y3), s4 = Vector512.Load(y4), s5 = Vector512.Load(y5);
        long ahead = tile.PrefetchBytes;
        for (int group = tile.First; group < tile.End; group++)
        {
            Vector256<int> a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default;
            Vector256<int> b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default;
            for (long k = 0; k < 64 * Quads; k += 64)
            {
                CacheHint.Read(w + k + ahead);
                Vector256<int> quad = Vector256.Create(*x);
                a0 = Dot(a0, w + k, quad);
                b0 = Dot(b0, w + k + 32, quad);
                quad = Vector256.Create(x[row]);
                a1 = Dot(a1, w + k, quad);
                b1 = Dot(b1, w + k + 32, quad);
                quad = Vector256.Create(x[row2]);
                a2 = Dot(a2, w + k, quad);
                b2 = Dot(b2, w + k + 32, quad);
                quad = Vector256.Create(x[row3]);
                a3 = Dot(a3, w + k, quad);
                b3 = Dot(b3, w + k + 32, quad);
                quad = Vector256.Create(x[row4]);
                a4 = Dot(a4, w + k, quad);
                b4 = Dot(b4, w + k + 32, quad);
                quad = Vector256.Create(x[last]);
                a5 = Dot(a5, w + k, quad);
                b5 = Dot(b5, w + k + 32, quad);
                x++;
            }

            // The line after the group: perhaps the next record's head. In this order, so that streams only go forward.
            CacheHint.Read(w + ahead + 512);

            Vector512<float> scale = Block512.Halves(w - Head(group));
            s0 = Add(s0, a0, b0, Vector512.Create(-128 * *totals), scale * Vector512.Create(*scales));
            s1 = Add(s1, a1, b1, Vector512.Create(-128 * totals[groups]), scale * Vector512.Create(scales[groups]));
            s2 = Add(s2, a2, b2, Vector512.Create(-128 * totals[2 * groups]), scale * Vector512.Create(scales[2 * groups]));
            s3 = Add(s3, a3, b3, Vector512.Create(-128 * totals[3 * groups]), scale * Vector512.Create(scales[3 * groups]));
            s4 = Add(s4, a4, b4, Vector512.Create(-128 * totals[4 * groups]), scale * Vector512.Create(scales[4 * groups]));
            s5 = Add(s5, a5, b5, Vector512.Create(-128 * totals[r5 * groups]), scale * Vector512.Create(scales[r5 * groups]));
            w += Step(group);
            totals++;
            scales++;
        }

        s0.Store(y0);
        s1.Store(y1);
        s2.Store(y2);
        s3.Store(y3);
        s4.Store(y4);
        s5.Store(y5);
    }
}
