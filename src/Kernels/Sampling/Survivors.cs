namespace Cluster.Kernels.Sampling;

/// <summary>
/// The tokens that a draw may choose: those with a scaled logit above <paramref name="Floor"/>, and of those that equal it
/// the ones with an id up to <paramref name="LastTied"/>.
/// </summary>
internal readonly record struct Survivors(float Floor, int LastTied)
{
    /// <summary>Whether a token survives.</summary>
    public bool Contains(float logit, int token) => logit > Floor || (logit == Floor && token <= LastTied);

    /// <summary>
    /// Applies min-p, top-k and top-p, in the order of vLLM's sampler: min-p, then top-k (ties with the k-th stay), then
    /// top-p over what is left (the smallest set of most likely tokens that reaches p; ties by id).
    /// </summary>
    /// <param name="scaled">Logits divided by the temperature.</param>
    /// <param name="max">The greatest of them.</param>
    /// <param name="parameters">The request's parameters.</param>
    /// <param name="top">Memory to select in.</param>
    public static Survivors Of(ReadOnlySpan<float> scaled, float max, SamplingParameters parameters, TopTokens top)
    {
        float floor = float.MinValue;
        if (parameters.MinP > 0)
            floor = AtLeast(max + Math.Log(parameters.MinP));
        if (parameters.TopK > 0 && parameters.TopK < scaled.Length)
        {
            ReadOnlySpan<ulong> best = top.Best(scaled, parameters.TopK, floor);
            if (best.Length == parameters.TopK)
                floor = TokenKey.Logit(best[^1]);
        }
        var survivors = new Survivors(floor, int.MaxValue);
        return parameters.TopP < 1 ? survivors.Reach(scaled, max, parameters.TopP, top) : survivors;
    }

    // Looks at the best 256 tokens first: they hold nearly all of the probability of a trained model.
    private Survivors Reach(ReadOnlySpan<float> scaled, float max, double share, TopTokens top)
    {
        double wanted = share * LogitMath.SumExp(scaled, max, Floor);
        for (int count = 256; ; count = (int)Math.Min(8L * count, scaled.Length))
        {
            ReadOnlySpan<ulong> best = top.Best(scaled, count, Floor);
            double before = 0;      // probability mass of all better tokens
            for (int i = 0; i < best.Length; i++)
            {
                if (i > 0 && before >= wanted)
                    return new Survivors(TokenKey.Logit(best[i - 1]), TokenKey.Token(best[i - 1]));
                before += Math.Exp((double)TokenKey.Logit(best[i]) - max);
            }
            if (best.Length < count || count >= scaled.Length)
                return this;
        }
    }

    private static float AtLeast(double value)
    {
        float rounded = (float)value;
        return rounded < value ? MathF.BitIncrement(rounded) : rounded;
    }
}
