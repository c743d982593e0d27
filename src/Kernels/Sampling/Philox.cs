using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Sampling;

/// <summary>
/// Philox4x32-10, a counter-based generator: four random words are a function of a 128-bit counter and a 64-bit key
/// (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). There is no state to keep or to lose.
/// </summary>
internal static class Philox
{
    private const uint Multiplier0 = 0xD2511F53, Multiplier1 = 0xCD9E8D57;
    private const uint Weyl0 = 0x9E3779B9, Weyl1 = 0xBB67AE85;
    private const int Rounds = 10;

    /// <summary>The four words of one counter.</summary>
    [SkipLocalsInit]
    public static (uint Word0, uint Word1, uint Word2, uint Word3) Words(uint counter0, uint counter1, uint counter2, uint counter3, ulong key)
    {
        uint key0 = (uint)key, key1 = (uint)(key >> 32);
        for (int round = 0; round < Rounds; round++)
        {
            ulong product0 = (ulong)Multiplier0 * counter0, product1 = (ulong)Multiplier1 * counter2;
            counter0 = (uint)(product1 >> 32) ^ counter1 ^ key0;
            counter1 = (uint)product1;
            counter2 = (uint)(product0 >> 32) ^ counter3 ^ key1;
            counter3 = (uint)product0;
            key0 += Weyl0;
            key1 += Weyl1;
        }
        return (counter0, counter1, counter2, counter3);
    }

    /// <summary>
    /// Counters first, first + 1, ... first + 7 in their lowest word: word w of counter first + i goes to
    /// <paramref name="words"/>[8 * w + i].
    /// </summary>
    public static void EightCounters(uint first, uint counter1, uint counter2, uint counter3, ulong key, Span<uint> words)
    {
        if (Avx2.IsSupported)
        {
            EightCountersAvx2(first, counter1, counter2, counter3, key, words);
            return;
        }
        for (int i = 0; i < 8; i++)
            (words[i], words[8 + i], words[16 + i], words[24 + i]) = Words(first + (uint)i, counter1, counter2, counter3, key);
    }

    /// <summary>Counters first ... first + 15; word w of counter first + i goes to words[32 * (i / 8) + 8 * w + i % 8].</summary>
    public static void SixteenCounters(uint first, uint counter1, uint counter2, uint counter3, ulong key, Span<uint> words)
    {
        if (Avx512F.IsSupported)
        {
            SixteenCountersAvx512(first, counter1, counter2, counter3, key, words);
            return;
        }
        EightCounters(first, counter1, counter2, counter3, key, words);
        EightCounters(first + 8, counter1, counter2, counter3, key, words[32..]);
    }

    private static void SixteenCountersAvx512(uint first, uint counter1, uint counter2, uint counter3, ulong key, Span<uint> words)
    {
        Vector512<uint> c0 = Vector512.Create(first) + Vector512<uint>.Indices;
        Vector512<uint> c1 = Vector512.Create(counter1), c2 = Vector512.Create(counter2), c3 = Vector512.Create(counter3);
        Vector512<uint> m0 = Vector512.Create(Multiplier0), m1 = Vector512.Create(Multiplier1);
        uint key0 = (uint)key, key1 = (uint)(key >> 32);
        for (int round = 0; round < Rounds; round++)
        {
            (Vector512<uint> high0, Vector512<uint> low0) = Multiply(c0, m0);
            (Vector512<uint> high1, Vector512<uint> low1) = Multiply(c2, m1);
            c0 = high1 ^ c1 ^ Vector512.Create(key0);
            c1 = low1;
            c2 = high0 ^ c3 ^ Vector512.Create(key1);
            c3 = low0;
            key0 += Weyl0;
            key1 += Weyl1;
        }
        ReadOnlySpan<Vector512<uint>> all = [c0, c1, c2, c3];
        for (int word = 0; word < all.Length; word++)
        {
            all[word].GetLower().CopyTo(words[(8 * word)..]);
            all[word].GetUpper().CopyTo(words[(32 + (8 * word))..]);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector512<uint> High, Vector512<uint> Low) Multiply(Vector512<uint> a, Vector512<uint> b)
    {
        Vector512<ulong> even = Avx512F.Multiply(a, b);
        Vector512<ulong> odd = Avx512F.Multiply((a.AsUInt64() >>> 32).AsUInt32(), b);
        Vector512<uint> oddLanes = Vector512.Create(0xFFFFFFFF_00000000ul).AsUInt32();
        Vector512<uint> high = Vector512.ConditionalSelect(oddLanes, odd.AsUInt32(), (even >>> 32).AsUInt32());
        Vector512<uint> low = Vector512.ConditionalSelect(oddLanes, (odd << 32).AsUInt32(), even.AsUInt32());
        return (high, low);
    }

    private static void EightCountersAvx2(uint first, uint counter1, uint counter2, uint counter3, ulong key, Span<uint> words)
    {
        Vector256<uint> c0 = Vector256.Create(first) + Vector256.Create(0u, 1, 2, 3, 4, 5, 6, 7);
        Vector256<uint> c1 = Vector256.Create(counter1), c2 = Vector256.Create(counter2), c3 = Vector256.Create(counter3);
        Vector256<uint> m0 = Vector256.Create(Multiplier0), m1 = Vector256.Create(Multiplier1);
        uint key0 = (uint)key, key1 = (uint)(key >> 32);
        for (int round = 0; round < Rounds; round++)
        {
            (Vector256<uint> high0, Vector256<uint> low0) = Multiply(c0, m0);
            (Vector256<uint> high1, Vector256<uint> low1) = Multiply(c2, m1);
            c0 = high1 ^ c1 ^ Vector256.Create(key0);
            c1 = low1;
            c2 = high0 ^ c3 ^ Vector256.Create(key1);
            c3 = low0;
            key0 += Weyl0;
            key1 += Weyl1;
        }
        c0.CopyTo(words);
        c1.CopyTo(words[8..]);
        c2.CopyTo(words[16..]);
        c3.CopyTo(words[24..]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (Vector256<uint> High, Vector256<uint> Low) Multiply(Vector256<uint> a, Vector256<uint> b)
    {
        Vector256<ulong> even = Avx2.Multiply(a, b);
        Vector256<ulong> odd = Avx2.Multiply((a.AsUInt64() >>> 32).AsUInt32(), b);
        const byte OddLanes = 0b1010_1010;
        Vector256<uint> high = Avx2.Blend((even >>> 32).AsUInt32(), odd.AsUInt32(), OddLanes);
        Vector256<uint> low = Avx2.Blend(even.AsUInt32(), (odd << 32).AsUInt32(), OddLanes);
        return (high, low);
    }
}
