using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// 4-bit weights, 16 outputs to a vector. A product pair of a nibble and a byte is at most 2 * 15 * 127, so all 8 of a group add
/// up in 16 bits before they are widened once: twice as many products per instruction as the dot products of 256 bits.
/// </summary>
internal readonly unsafe partial struct Int4Tile512<TFormat> : IBlockTile
    where TFormat : struct, IBlockFormat
{
    private const int Quads = 4;

    public static int Width => 16;

    public static int RowsPerPass => 4;

    public static int VectorsFor(int rows) => rows <= 2 ? 4 : 2;

    private static bool HasMinima
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => typeof(TFormat) == typeof(Int4MinimumBlocks);
    }

    public static void Run(in BlockTileJob tile)
    {
        if (tile.Rows == 1)
            Rows1(tile);
        else if (tile.Rows == 2)
            Rows2(tile);
        else
            Rows4(tile);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Rows1(in BlockTileJob tile)
    {
        byte* w0 = Codes(tile.Panel0, tile.First), w1 = Codes(tile.Panel1, tile.First), w2 = Codes(tile.Panel2, tile.First), w3 = Codes(tile.Panel3, tile.First);
        int* x0 = tile.X.CodeRow(0, tile.First), totals0 = tile.X.SumRow(0);
        float* scales0 = tile.X.ScaleRow(0);
        float* y00 = tile.Sums, y01 = Block512.SumLane(tile, 1), y02 = Block512.SumLane(tile, 2), y03 = Block512.SumLane(tile, 3);
        Vector512<float> s00 = Vector512.Load(y00), s01 = Vector512.Load(y01), s02 = Vector512.Load(y02), s03 = Vector512.Load(y03);
        Vector512<byte> lower = Vector512.Create((byte)15);
        // A constant: one instruction less per line than the job's distance, and nothing else is as many here.
        const long Ahead = 1024;
        for (int group = tile.First; group < tile.End; group++)
        {
            Vector512<short> a00 = default, a01 = default, a02 = default, a03 = default;
            for (long k = 0; k < Quads; k++)
            {
                CacheHint.Read(w0 + (64 * k) + Ahead);
                CacheHint.Read(w1 + (64 * k) + Ahead);
                CacheHint.Read(w2 + (64 * k) + Ahead);
                CacheHint.Read(w3 + (64 * k) + Ahead);
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
            }

            // The line after the group: perhaps the next record's head. In this order, so that streams only go forward.
            CacheHint.Read(w0 + Ahead + 256);
            CacheHint.Read(w1 + Ahead + 256);
            CacheHint.Read(w2 + Ahead + 256);
            CacheHint.Read(w3 + Ahead + 256);

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
            w0 += step;
            w1 += step;
            w2 += step;
            w3 += step;
        }

        s00.Store(y00);
        s01.Store(y01);
        s02.Store(y02);
        s03.Store(y03);
    }

    private static byte* Codes(byte* panel, int group) => panel + Block512.Codes<TFormat>(group);

    // Bits move between bytes: the caller masks them.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> Upper(Vector512<byte> codes) => (codes.AsUInt16() >>> 4).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<sbyte> Quad(int* x) => Vector512.Create(*x).AsSByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<short> Products(Vector512<byte> codes, Vector512<sbyte> quad) => Avx512BW.MultiplyAddAdjacent(codes, quad);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Start(int total) => HasMinima ? default : Vector512.Create(total) << 3;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Add(Vector512<float> sum, Vector512<short> products, Vector512<int> start, Vector512<float> scale)
    {
        Vector512<int> pairs = Avx512BW.MultiplyAddAdjacent(products, Vector512.Create((short)1));
        return Avx512F.FusedMultiplyAdd(Vector512.ConvertToSingle(HasMinima ? pairs : pairs - start), scale, sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Minima(byte* scales) => HasMinima ? Block512.Halves(scales + 64) : default;
}
