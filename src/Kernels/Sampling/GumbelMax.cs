using System.Numerics;
using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Sampling;

/// <summary>argmax over the survivors of scaled logit + Gumbel noise. Ties go to the lowest id.</summary>
internal static class GumbelMax
{
    private const int FewSurvivors = 2048;

    /// <summary>Draws a token.</summary>
    /// <param name="scaled">Logits divided by the temperature.</param>
    /// <param name="max">The greatest of them.</param>
    /// <param name="survivors">Tokens that may be drawn; contains the greatest.</param>
    /// <param name="noise">Noise of this position.</param>
    public static int Draw(ReadOnlySpan<float> scaled, float max, Survivors survivors, GumbelNoise noise)
    {
        int count = survivors.Floor > float.MinValue ? LogitMath.CountFrom(scaled, survivors.Floor) : scaled.Length;
        return count <= FewSurvivors && count < scaled.Length ? DrawFew(scaled, survivors, noise) : DrawMany(scaled, max, survivors, noise, out _);
    }

    /// <summary>Draws of all tokens, and says how far the drawn one got: of several parts of a vocabulary the greatest score wins.</summary>
    public static int DrawAny(ReadOnlySpan<float> scaled, float max, GumbelNoise noise, out double score) =>
        DrawMany(scaled, max, new Survivors(float.MinValue, int.MaxValue), noise, out score);

    private static int DrawFew(ReadOnlySpan<float> scaled, Survivors survivors, GumbelNoise noise)
    {
        int best = -1;
        double bestScore = double.NegativeInfinity;
        int end = scaled.Length - scaled.Length % 8;
        for (int start = 0; start < end; start += 8)
        {
            uint mask = Vector256.GreaterThanOrEqual(Vector256.Create(scaled.Slice(start, 8)), Vector256.Create(survivors.Floor)).ExtractMostSignificantBits();
            for (; mask != 0; mask &= mask - 1)
                Consider(scaled, start + BitOperations.TrailingZeroCount(mask), survivors, noise, ref best, ref bestScore);
        }
        for (int token = end; token < scaled.Length; token++)
            Consider(scaled, token, survivors, noise, ref best, ref bestScore);
        return best;
    }

    private static void Consider(ReadOnlySpan<float> scaled, int token, Survivors survivors, GumbelNoise noise, ref int best, ref double bestScore)
    {
        if (!survivors.Contains(scaled[token], token))
            return;
        double score = scaled[token] + noise.Of(token);
        if (score > bestScore)
            (best, bestScore) = (token, score);
    }

    // Over a whole vocabulary two logarithms per token would cost milliseconds. With c = 2^32 - 1 - bits the noise is at
    // most ln(2^32) - ln(c), and the exponent and mantissa bits of (float)c, read as an integer, are a lower bound of
    // log2(c). Only tokens whose bound beats the best score so far are computed exactly, so the result is the same.
    private static int DrawMany(ReadOnlySpan<float> scaled, float max, Survivors survivors, GumbelNoise noise, out double bestScore)
    {
        int best = scaled.IndexOf(max);
        bestScore = max + noise.Of(best);
        Span<uint> bits = stackalloc uint[GumbelNoise.BlockTokens];
        Vector256<float> threshold = Threshold(bestScore);
        Vector256<float> floor = Vector256.Create(survivors.Floor);
        int blocks = scaled.Length / GumbelNoise.BlockTokens;
        for (int block = 0; block < blocks; block++)
        {
            noise.FillBlock(block, bits);
            if (Vector512.IsHardwareAccelerated && !AnyPromising(scaled.Slice(block * GumbelNoise.BlockTokens, GumbelNoise.BlockTokens), bits, threshold[0], survivors.Floor))
                continue;
            for (int part = 0; part < GumbelNoise.BlockTokens; part += 8)
            {
                int start = block * GumbelNoise.BlockTokens + part;
                Vector256<float> values = Vector256.Create(scaled.Slice(start, 8));
                Vector256<float> bound = values + NoiseBound(Vector256.Create(bits.Slice(part, 8)));
                uint mask = (Vector256.GreaterThan(bound, threshold) & Vector256.GreaterThanOrEqual(values, floor)).ExtractMostSignificantBits();
                for (; mask != 0; mask &= mask - 1)
                {
                    if (Improves(scaled, start + BitOperations.TrailingZeroCount(mask), survivors, noise, ref best, ref bestScore))
                        threshold = Threshold(bestScore);
                }
            }
        }
        for (int token = blocks * GumbelNoise.BlockTokens; token < scaled.Length; token++)
            Improves(scaled, token, survivors, noise, ref best, ref bestScore);
        return best;
    }

    // Nearly no block has a token that can win: one look at all of it.
    private static bool AnyPromising(ReadOnlySpan<float> scaled, ReadOnlySpan<uint> bits, float threshold, float floor)
    {
        Vector512<float> any = Vector512<float>.Zero, least = Vector512.Create(threshold), lowest = Vector512.Create(floor);
        for (int part = 0; part < GumbelNoise.BlockTokens; part += 16)
        {
            Vector512<float> values = Vector512.Create(scaled.Slice(part, 16));
            any |= Vector512.GreaterThan(values + NoiseBound(Vector512.Create(bits.Slice(part, 16))), least) & Vector512.GreaterThanOrEqual(values, lowest);
        }
        return Vector512.ExtractMostSignificantBits(any) != 0;
    }

    private static bool Improves(ReadOnlySpan<float> scaled, int token, Survivors survivors, GumbelNoise noise, ref int best, ref double bestScore)
    {
        if (!survivors.Contains(scaled[token], token))
            return false;
        double score = scaled[token] + noise.Of(token);
        if (score < bestScore || (score == bestScore && token >= best))
            return false;
        (best, bestScore) = (token, score);
        return true;
    }

    private static Vector256<float> NoiseBound(Vector256<uint> bits)
    {
        const float Ln2 = 0.693147181f;
        // c is halved to fit a signed integer; flooring only makes the bound larger.
        Vector256<float> c = Vector256.ConvertToSingle((~bits >>> 1).AsInt32());
        Vector256<float> exponent = Vector256.ConvertToSingle(c.AsInt32());     // 2^23 * (log2(c) + 127), from below
        return Vector256.Create(Ln2 * (31 + 127)) - exponent * Vector256.Create(Ln2 / (1 << 23));
    }

    private static Vector512<float> NoiseBound(Vector512<uint> bits)
    {
        const float Ln2 = 0.693147181f;
        Vector512<float> c = Vector512.ConvertToSingle((~bits >>> 1).AsInt32());
        Vector512<float> exponent = Vector512.ConvertToSingle(c.AsInt32());
        return Vector512.Create(Ln2 * (31 + 127)) - exponent * Vector512.Create(Ln2 / (1 << 23));
    }

    // Room for the single-precision rounding of bound and sum.
    private static Vector256<float> Threshold(double bestScore) => Vector256.Create((float)(bestScore - 1e-3 - 1e-6 * Math.Abs(bestScore)));
}
