using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Execution;

/// <summary>
/// The scale of a group of 32 weights in 4 bits. ggml maps the weight of largest magnitude to -8; here a few neighbours of that
/// scale (either sign, more or less clipping) are tried as well, the best gets the least-squares scale of its codes, and ggml's
/// own stands where that is no better: the squared error is never larger than that of llama.cpp's Q4_0.
/// </summary>
internal static class GroupScale
{
    // Codes that the weight of largest magnitude is mapped to: beyond 8 (or 7 on the positive side) it is clipped.
    private static ReadOnlySpan<float> Codes => [-7, -7.5f, -8, -8.5f, -9, 7, 7.5f, 8, 8.5f, 9];

    /// <summary>Codes 0..15, as floats, of weights times the inverse of a scale.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Code(Vector256<float> values, Vector256<float> inverse) =>
        Vector256.Floor(Vector256.MinNative(Vector256.MaxNative((values * inverse) + Vector256.Create(8.5f), Vector256<float>.Zero), Vector256.Create(15f)));

    /// <summary>The scale to store (a fp16 value), and the inverse that the codes are made with; NaN for a group that is not finite.</summary>
    public static float Search(in Group group, out float inverse)
    {
        float extreme = group.Extreme();
        float scale = extreme / -8;
        inverse = scale == 0 ? 0 : 1 / scale;
        var stored = (float)(Half)scale;
        if (stored == 0 || float.IsInfinity(inverse))
            return inverse = 0;
        if (!float.IsFinite(stored))
            return float.NaN;
        (float best, float candidate) = Best(group, extreme);
        if (!float.IsFinite(best) || group.Error(candidate, best) >= group.Error(inverse, stored))
            return stored;
        inverse = candidate;
        return best;
    }

    private static (float Scale, float Inverse) Best(in Group group, float extreme)
    {
        float most = 0, scale = float.NaN, inverse = 0;
        foreach (float code in Codes)
        {
            float candidate = code / extreme;
            (float products, float squares) = group.Fit(candidate);
            // With the least-squares scale p / s the squared error is that of zeros less p * p / s.
            float gain = products * products / squares;
            if (gain > most)
                (most, scale, inverse) = (gain, products / squares, candidate);
        }
        return ((float)(Half)scale, inverse);
    }

    /// <summary>32 weights.</summary>
    public readonly struct Group(ReadOnlySpan<float> values)
    {
        private readonly Vector256<float> _a = Vector256.Create(values), _b = Vector256.Create(values[8..]);
        private readonly Vector256<float> _c = Vector256.Create(values[16..]), _d = Vector256.Create(values[24..]);

        /// <summary>The value of largest magnitude, with its sign; NaN if one is.</summary>
        public float Extreme()
        {
            Vector256<float> high = Vector256.Max(Vector256.Max(_a, _b), Vector256.Max(_c, _d)), low = Vector256.Min(Vector256.Min(_a, _b), Vector256.Min(_c, _d));
            Vector128<float> most = Vector128.Max(high.GetLower(), high.GetUpper()), least = Vector128.Min(low.GetLower(), low.GetUpper());
            float maximum = MathF.Max(MathF.Max(most[0], most[1]), MathF.Max(most[2], most[3]));
            float minimum = MathF.Min(MathF.Min(least[0], least[1]), MathF.Min(least[2], least[3]));
            return -minimum > maximum ? minimum : maximum;
        }

        /// <summary>Sums over the group for the codes q that an inverse gives: of weight times q, and of q squared.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public (float Products, float Squares) Fit(float inverse)
        {
            Vector256<float> factor = Vector256.Create(inverse), centre = Vector256.Create(8f);
            Vector256<float> p = Code(_a, factor) - centre, q = Code(_b, factor) - centre, r = Code(_c, factor) - centre, s = Code(_d, factor) - centre;
            return (Sum(((p * _a) + (q * _b)) + ((r * _c) + (s * _d))), Sum(((p * p) + (q * q)) + ((r * r) + (s * s))));
        }

        /// <summary>Squared error of the codes that an inverse gives, times a scale.</summary>
        public float Error(float inverse, float scale)
        {
            Vector256<float> factor = Vector256.Create(inverse), step = Vector256.Create(scale), centre = Vector256.Create(8f);
            Vector256<float> p = _a - (step * (Code(_a, factor) - centre)), q = _b - (step * (Code(_b, factor) - centre));
            Vector256<float> r = _c - (step * (Code(_c, factor) - centre)), s = _d - (step * (Code(_d, factor) - centre));
            return Sum(((p * p) + (q * q)) + ((r * r) + (s * s)));
        }

        /// <summary>Two nibbles per byte: elements 0..15 low, 16..31 high.</summary>
        public Vector128<byte> Nibbles(float inverse)
        {
            Vector256<float> factor = Vector256.Create(inverse);
            Vector256<int> a = Vector256.ConvertToInt32(Code(_a, factor)), b = Vector256.ConvertToInt32(Code(_b, factor));
            Vector256<int> c = Vector256.ConvertToInt32(Code(_c, factor)), d = Vector256.ConvertToInt32(Code(_d, factor));
            Vector256<ushort> bytes = Vector256.Narrow((a | (c << 4)).AsUInt32(), (b | (d << 4)).AsUInt32());
            return Vector128.Narrow(bytes.GetLower(), bytes.GetUpper());
        }

        // One order of additions on every instruction set.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static float Sum(Vector256<float> lanes)
        {
            Vector128<float> half = lanes.GetLower() + lanes.GetUpper();
            return (half[0] + half[1]) + (half[2] + half[3]);
        }
    }
}
