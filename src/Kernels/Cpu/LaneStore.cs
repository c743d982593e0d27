using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Writes rows of 32-bit words into neighbouring lanes of a panel: word i of a row goes to line i of 64 bytes. Four rows at a time are
/// transposed in registers, so that packing runs at the speed of memory.
/// </summary>
internal static unsafe class LaneStore
{
    /// <summary>Rows that are written together.</summary>
    public const int Lanes = 4;

    private const int LineBytes = 64;

    /// <summary>A word of a lane.</summary>
    public static ref uint Word(byte* to, int index, int lane) => ref ((uint*)(to + ((long)LineBytes * index)))[lane];

    /// <summary>Words [first, words) of four rows, or of fewer with zeros in the other lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Four(uint** rows, int count, int first, int words, byte* to)
    {
        int i = first;
        to += (long)LineBytes * first;
        if (count == Lanes)
        {
            uint* a = rows[0], b = rows[1], c = rows[2], d = rows[3];
            for (; i + 4 <= words; i += 4, to += 4 * LineBytes)
            {
                Vector128<uint> va = Vector128.Load(a + i), vb = Vector128.Load(b + i), vc = Vector128.Load(c + i), vd = Vector128.Load(d + i);
                Vector128<ulong> abLower = ZipLower(va, vb), abUpper = ZipUpper(va, vb), cdLower = ZipLower(vc, vd), cdUpper = ZipUpper(vc, vd);
                Vector128.Create(abLower.GetLower(), cdLower.GetLower()).Store((ulong*)to);
                Vector128.Create(abLower.GetUpper(), cdLower.GetUpper()).Store((ulong*)(to + LineBytes));
                Vector128.Create(abUpper.GetLower(), cdUpper.GetLower()).Store((ulong*)(to + (2 * LineBytes)));
                Vector128.Create(abUpper.GetUpper(), cdUpper.GetUpper()).Store((ulong*)(to + (3 * LineBytes)));
            }
        }
        for (; i < words; i++, to += LineBytes)
        {
            for (int lane = 0; lane < Lanes; lane++)
                ((uint*)to)[lane] = lane < count ? rows[lane][i] : 0;
        }
    }

    /// <summary>
    /// All 16 rows at once, whole lines: every line of the file is read once, every line of the panel is written once and past the
    /// caches. Returns the words that were written, a multiple of 16; 0 where the processor has no 512-bit vectors.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static int Sixteen(uint** rows, int words, byte* to)
    {
        if (!Avx512F.IsSupported || (nuint)to % LineBytes != 0)
            return 0;
        int whole = words / 16 * 16;
        Vector512<uint>* quads = stackalloc Vector512<uint>[16];
        for (int i = 0; i < whole; i += 16, to += 16 * LineBytes)
        {
            for (int r = 0; r < 16; r += 4)
                Transpose4(rows + r, i, quads + r);
            // quads[4 q + j] has words j, 4 + j, 8 + j, 12 + j of rows 4 q to 4 q + 3.
            for (int j = 0; j < 4; j++)
            {
                Vector512<uint> ab = quads[j], cd = quads[4 + j], ef = quads[8 + j], gh = quads[12 + j];
                Vector512<uint> lowAb = Avx512F.Shuffle4x128(ab, cd, 0x44), highAb = Avx512F.Shuffle4x128(ab, cd, 0xEE);
                Vector512<uint> lowEf = Avx512F.Shuffle4x128(ef, gh, 0x44), highEf = Avx512F.Shuffle4x128(ef, gh, 0xEE);
                Avx512F.Shuffle4x128(lowAb, lowEf, 0x88).StoreAlignedNonTemporal((uint*)(to + (LineBytes * j)));
                Avx512F.Shuffle4x128(lowAb, lowEf, 0xDD).StoreAlignedNonTemporal((uint*)(to + (LineBytes * (4 + j))));
                Avx512F.Shuffle4x128(highAb, highEf, 0x88).StoreAlignedNonTemporal((uint*)(to + (LineBytes * (8 + j))));
                Avx512F.Shuffle4x128(highAb, highEf, 0xDD).StoreAlignedNonTemporal((uint*)(to + (LineBytes * (12 + j))));
            }
        }
        // Such stores are ordered with nothing that follows.
        Sse.StoreFence();
        return whole;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Transpose4(uint** rows, int i, Vector512<uint>* to)
    {
        Vector512<uint> a = Vector512.Load(rows[0] + i), b = Vector512.Load(rows[1] + i), c = Vector512.Load(rows[2] + i), d = Vector512.Load(rows[3] + i);
        Vector512<ulong> abLower = Avx512F.UnpackLow(a, b).AsUInt64(), abUpper = Avx512F.UnpackHigh(a, b).AsUInt64();
        Vector512<ulong> cdLower = Avx512F.UnpackLow(c, d).AsUInt64(), cdUpper = Avx512F.UnpackHigh(c, d).AsUInt64();
        to[0] = Avx512F.UnpackLow(abLower, cdLower).AsUInt32();
        to[1] = Avx512F.UnpackHigh(abLower, cdLower).AsUInt32();
        to[2] = Avx512F.UnpackLow(abUpper, cdUpper).AsUInt32();
        to[3] = Avx512F.UnpackHigh(abUpper, cdUpper).AsUInt32();
    }

    /// <summary>Whether fp16 values are neither infinite nor NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static bool IsFinite(ushort* halves, int count)
    {
        // An all-ones exponent carries into the sign position when its lowest bit is added.
        Vector128<ushort> seen = default, mask = Vector128.Create((ushort)0x7C00), one = Vector128.Create((ushort)0x0400);
        int i = 0;
        for (; i + 8 <= count; i += 8)
            seen |= (Vector128.Load(halves + i) & mask) + one;
        uint rest = 0;
        for (; i < count; i++)
            rest |= (halves[i] & 0x7C00u) + 0x0400;
        return (rest & 0x8000) == 0 && (seen & Vector128.Create((ushort)0x8000)) == Vector128<ushort>.Zero;
    }

    // x0 y0 x1 y1
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> ZipLower(Vector128<uint> x, Vector128<uint> y) =>
        Sse2.IsSupported ? Sse2.UnpackLow(x, y).AsUInt64()
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(x, y).AsUInt64()
        : Vector128.WidenLower(x) | (Vector128.WidenLower(y) << 32);

    // x2 y2 x3 y3
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> ZipUpper(Vector128<uint> x, Vector128<uint> y) =>
        Sse2.IsSupported ? Sse2.UnpackHigh(x, y).AsUInt64()
        : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(x, y).AsUInt64()
        : Vector128.WidenUpper(x) | (Vector128.WidenUpper(y) << 32);
}
