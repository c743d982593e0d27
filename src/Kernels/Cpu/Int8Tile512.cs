using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// 8-bit weights, 16 outputs to a vector: AVX-VNNI products of 256 bits (there are none of 512 bits in .NET), two to a vector;
/// their sums are put together to 512 bits once per group. Shapes are held to the 16 registers that these products can name.
/// </summary>
internal readonly unsafe partial struct Int8Tile512 : IBlockTile
{
    private const int Quads = 8;

    public static int Width => 16;

    public static int RowsPerPass => 6;

    public static int VectorsFor(int rows) => rows switch
    {
        1 => 4,
        2 => 2,
        _ => 1,
    };

    /// <summary>Whether this processor has the instructions.</summary>
    public static bool IsSupported => Avx512F.IsSupported && AvxVnni.IsSupported;

    public static void Run(in BlockTileJob tile)
    {
        if (tile.Rows == 1)
            Rows1(tile);
        else if (tile.Rows == 2)
            Rows2(tile);
        else if (tile.Rows <= 4)
            Rows4(tile);
        else
            Rows6(tile);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(in BlockTileJob tile)
    {
        byte* w0 = Codes(tile.Panel0, tile.First), w1 = Codes(tile.Panel1, tile.First), w2 = Codes(tile.Panel2, tile.First), w3 = Codes(tile.Panel3, tile.First);
        int* x0 = tile.X.CodeRow(0, tile.First), totals0 = tile.X.SumRow(0);
        float* scales0 = tile.X.ScaleRow(0);
        float* y0 = tile.Sums, y1 = Block512.SumLane(tile, 1), y2 = Block512.SumLane(tile, 2), y3 = Block512.SumLane(tile, 3);
        Vector512<float> s0 = Vector512.Load(y0), s1 = Vector512.Load(y1), s2 = Vector512.Load(y2), s3 = Vector512.Load(y3);
        // A constant: one instruction less per line than the job's distance, and nothing else is as many here.
        const long Ahead = 1024;
        for (int group = tile.First; group < tile.End; group++)
        {
            Vector256<int> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
            for (long k = 0; k < 64 * Quads; k += 64)
            {
                CacheHint.Read(w0 + k + Ahead);
                CacheHint.Read(w1 + k + Ahead);
                CacheHint.Read(w2 + k + Ahead);
                CacheHint.Read(w3 + k + Ahead);
                Vector256<int> quad = Vector256.Create(*x0);
                a0 = Dot(a0, w0 + k, quad);
                b0 = Dot(b0, w0 + k + 32, quad);
                a1 = Dot(a1, w1 + k, quad);
                b1 = Dot(b1, w1 + k + 32, quad);
                a2 = Dot(a2, w2 + k, quad);
                b2 = Dot(b2, w2 + k + 32, quad);
                a3 = Dot(a3, w3 + k, quad);
                b3 = Dot(b3, w3 + k + 32, quad);
                x0++;
            }

            // The line after the group: perhaps the next record's head. In this order, so that streams only go forward.
            CacheHint.Read(w0 + Ahead + 512);
            CacheHint.Read(w1 + Ahead + 512);
            CacheHint.Read(w2 + Ahead + 512);
            CacheHint.Read(w3 + Ahead + 512);

            long head = Head(group), step = Step(group);
            Vector512<int> start = Vector512.Create(-128 * totals0[group]);
            Vector512<float> t = Vector512.Create(scales0[group]);
            s0 = Add(s0, a0, b0, start, Block512.Halves(w0 - head) * t);
            s1 = Add(s1, a1, b1, start, Block512.Halves(w1 - head) * t);
            s2 = Add(s2, a2, b2, start, Block512.Halves(w2 - head) * t);
            s3 = Add(s3, a3, b3, start, Block512.Halves(w3 - head) * t);
            w0 += step;
            w1 += step;
            w2 += step;
            w3 += step;
        }

        s0.Store(y0);
        s1.Store(y1);
        s2.Store(y2);
        s3.Store(y3);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows2(in BlockTileJob tile)
    {
        byte* w0 = Codes(tile.Panel0, tile.First), w1 = Codes(tile.Panel1, tile.First);
        int* x0 = tile.X.CodeRow(0, tile.First), totals0 = tile.X.SumRow(0), x1 = tile.X.CodeRow(1, tile.First), totals1 = tile.X.SumRow(1);
        float* scales0 = tile.X.ScaleRow(0), scales1 = tile.X.ScaleRow(1);
        float* y00 = tile.Sums, y01 = Block512.SumLane(tile, 1), y10 = y00 + tile.SumStride, y11 = y01 + tile.SumStride;
        Vector512<float> s00 = Vector512.Load(y00), s01 = Vector512.Load(y01), s10 = Vector512.Load(y10), s11 = Vector512.Load(y11);
        long ahead = tile.PrefetchBytes;
        for (int group = tile.First; group < tile.End; group++)
        {
            Vector256<int> a00 = default, a01 = default, a10 = default, a11 = default, b00 = default, b01 = default, b10 = default, b11 = default;
            for (long k = 0; k < 64 * Quads; k += 64)
            {
                CacheHint.Read(w0 + k + ahead);
                CacheHint.Read(w1 + k + ahead);
                Vector256<int> quad0 = Vector256.Create(*x0), quad1 = Vector256.Create(*x1);
                a00 = Dot(a00, w0 + k, quad0);
                a10 = Dot(a10, w0 + k, quad1);
                b00 = Dot(b00, w0 + k + 32, quad0);
                b10 = Dot(b10, w0 + k + 32, quad1);
                a01 = Dot(a01, w1 + k, quad0);
                a11 = Dot(a11, w1 + k, quad1);
                b01 = Dot(b01, w1 + k + 32, quad0);
                b11 = Dot(b11, w1 + k + 32, quad1);
                x0++;
                x1++;
            }

            // The line after the group: perhaps the next record's head. In this order, so that streams only go forward.
            CacheHint.Read(w0 + ahead + 512);
            CacheHint.Read(w1 + ahead + 512);

            long head = Head(group), step = Step(group);
            Vector512<float> scale0 = Block512.Halves(w0 - head), scale1 = Block512.Halves(w1 - head);
            Vector512<int> start = Vector512.Create(-128 * totals0[group]);
            Vector512<float> t = Vector512.Create(scales0[group]);
            s00 = Add(s00, a00, b00, start, scale0 * t);
            s01 = Add(s01, a01, b01, start, scale1 * t);
            start = Vector512.Create(-128 * totals1[group]);
            t = Vector512.Create(scales1[group]);
            s10 = Add(s10, a10, b10, start, scale0 * t);
            s11 = Add(s11, a11, b11, start, scale1 * t);
            w0 += step;
            w1 += step;
        }

        s00.Store(y00);
        s01.Store(y01);
        s10.Store(y10);
        s11.Store(y11);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Dot(Vector256<int> sum, byte* weights, Vector256<int> x) => 
        AvxVnni.MultiplyWideningAndAdd(sum, Vector256.Load(weights), x.AsSByte());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Add(Vector512<float> sum, Vector256<int> low, Vector256<int> high, Vector512<int> start, Vector512<float> scale) =>
        Avx512F.FusedMultiplyAdd(Vector512.ConvertToSingle(low.ToVector512Unsafe().WithUpper(high) + start), scale, sum);

    private static byte* Codes(byte* panel, int group) => panel + Block512.Codes<Int8Blocks>(group);

    // From a group's codes back to its scales.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long Head(int group) => Block512.BackToScales<Int8Blocks>(group);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long Step(int group) => Block512.Step<Int8Blocks>(group);
}
