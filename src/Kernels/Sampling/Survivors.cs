namespace Cluster.Kernels.Sampling;

/// <summary>
/// The tokens that a draw may choose: those with a scaled logit above <paramref name="Floor"/>, and of those that equal it
/// the ones with an id up to <paramref name="LastTied"/>.
/// </summary>
internal readonly record struct Survivors(float Floor, int LastTied)
{
    private const int FirstLook = 256;

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

    // The best 256 tokens hold nearly all of the probability of a trained model; a flat distribution needs a second look.
    private Survivors Reach(ReadOnlySpan<float> scaled, float max, double share, TopTokens top)
    {
        double wanted = share * LogitMath.SumExp(scaled, max, Floor);
        ReadOnlySpan<ulong> best = top.Best(scaled, FirstLook, Floor);
        if (Cut(best, max, wanted, 0) is { } border)
            return border;
        return best.Length < FirstLook ? this : ReachByBuckets(scaled, max, wanted, top);
    }

    // Sums probability by distance from the greatest logit; only the bucket in which the share is reached is sorted.
    private Survivors ReachByBuckets(ReadOnlySpan<float> scaled, float max, double wanted, TopTokens top)
    {
        Span<double> mass = stackalloc double[TopTokens.Buckets];
        mass.Clear();
        foreach (float logit in scaled)
        {
            if (logit >= Floor)
                mass[TopTokens.BucketOf(logit, max)] += Math.Exp((double)logit - max);
        }
        double before = 0;
        for (int bucket = 0; bucket < mass.Length; before += mass[bucket++])
        {
            if (before + mass[bucket] < wanted)
                continue;
            if (Cut(top.InBucket(scaled, max, bucket, Floor), max, wanted, before) is { } border)
                return border;
        }
        return this;
    }

    // The last token before the share is reached; null if all of them together do not exceed it. Best first.
    private static Survivors? Cut(ReadOnlySpan<ulong> keys, float max, double wanted, double sum)
    {
        foreach (ulong key in keys)
        {
            sum += Math.Exp((double)TokenKey.Logit(key) - max);
            if (sum >= wanted)
                return new Survivors(TokenKey.Logit(key), TokenKey.Token(key));
        }
        return null;
    }

    private static float AtLeast(double value)
    {
        float rounded = (float)value;
        return rounded < value ? MathF.BitIncrement(rounded) : rounded;
    }
}
