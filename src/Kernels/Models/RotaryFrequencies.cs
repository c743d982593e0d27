namespace Cluster.Kernels.Models;

/// <summary>
/// Angles of the rotary embedding. Frequencies are rounded to single precision before they are multiplied by the
/// position, as the reference implementation does: at position 100,000 the rounding decides the third digit of the angle.
/// </summary>
internal static class RotaryFrequencies
{
    /// <summary>Radians per token of each pair of dimensions, [headDim / 2].</summary>
    public static float[] Inverse(RopeSettings rope, int headDim)
    {
        var inverse = new float[headDim / 2];
        for (int i = 0; i < inverse.Length; i++)
        {
            double plain = (float)(1 / Math.Pow(rope.Theta, 2.0 * i / headDim));
            inverse[i] = (float)(rope.Scaling switch
            {
                RopeScaling.Linear => plain / rope.Factor,
                RopeScaling.Llama3 => Llama3(rope, plain),
                RopeScaling.Yarn => Yarn(rope, plain, i, headDim),
                RopeScaling.PerDimension => plain / rope.Divisors[i],
                _ => plain,
            });
        }
        return inverse;
    }

    /// <summary>Cosines and sines of positions [0, positions), [positions, headDim / 2] each.</summary>
    public static (float[] Cosines, float[] Sines) Tables(RopeSettings rope, int headDim, int positions)
    {
        float[] inverse = Inverse(rope, headDim);
        var cosines = new float[(long)positions * inverse.Length];
        var sines = new float[(long)positions * inverse.Length];
        for (int position = 0; position < positions; position++)
        {
            for (int i = 0; i < inverse.Length; i++)
            {
                (double sine, double cosine) = Math.SinCos(position * inverse[i]);
                cosines[position * inverse.Length + i] = (float)((float)cosine * rope.AttentionFactor);
                sines[position * inverse.Length + i] = (float)((float)sine * rope.AttentionFactor);
            }
        }
        return (cosines, sines);
    }

    private static double Llama3(RopeSettings rope, double plain)
    {
        double turns = rope.OriginalPositions * plain / (2 * Math.PI);      // over the original context
        if (turns < rope.LowFrequencyFactor)
            return plain / rope.Factor;
        if (turns > rope.HighFrequencyFactor)
            return plain;
        double smooth = (turns - rope.LowFrequencyFactor) / (rope.HighFrequencyFactor - rope.LowFrequencyFactor);
        return (1 - smooth) * plain / rope.Factor + smooth * plain;
    }

    private static double Yarn(RopeSettings rope, double plain, int index, int headDim)
    {
        double low = DimensionOf(rope, rope.BetaFast, headDim), high = DimensionOf(rope, rope.BetaSlow, headDim);
        if (rope.Truncate)
            (low, high) = (Math.Floor(low), Math.Ceiling(high));
        low = Math.Max(low, 0);
        high = Math.Min(high, headDim - 1);
        if (low == high)
            high += 0.001;      // a step instead of a ramp
        double stretched = Math.Clamp((index - low) / (high - low), 0, 1);
        return plain / rope.Factor * stretched + plain * (1 - stretched);
    }

    // The (fractional) pair of dimensions that turns this often over the original context.
    private static double DimensionOf(RopeSettings rope, double turns, int headDim) =>
        headDim * Math.Log(rope.OriginalPositions / (turns * 2 * Math.PI)) / (2 * Math.Log(rope.Theta));
}
