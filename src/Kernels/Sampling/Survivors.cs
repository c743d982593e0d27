namespace Cluster.Kernels.Sampling;

/// <summary>
/// The tokens that a draw may choose: those with a scaled logit above <paramref name="Floor"/>, and of those that equal it
/// the ones with an id up to <paramref name="LastTied"/>.
/// </summary>
internal readonly record struct Survivors(float Floor, int LastTied)
{
    private const int FirstLook = 256;
    private const int EnoughInside = 512;
    private const int Few = 2048;

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
            floor = top.LogitOfRank(scaled, max, parameters.TopK, floor) ?? floor;
        }
        var survivors = new Survivors(floor, int.MaxValue);
        return parameters.TopP < 1 ? survivors.Reach(scaled, max, parameters.TopP, top) : survivors;
    }

    // Few survivors are sorted. Of many, single-precision weights find a bracket around the border, and only what lies inside it is
    // sorted; where their error could move the border, all is summed again in double precision.
    private Survivors Reach(ReadOnlySpan<float> scaled, float max, double share, TopTokens top)
    {
        if (Floor > float.MinValue && LogitMath.CountFrom(scaled, Floor) <= Few)
            return ReachAll(top.Between(scaled, float.NegativeInfinity, max, Floor), max, share);
        double total = top.Bracket.Weigh(scaled, max, Floor);
        double wanted = share * total, doubt = MassBracket.Error * total;

        // The best 256 tokens hold nearly all of the probability of a trained model. No token weighs more than 1.
        if (FirstLook > wanted)
        {
            ReadOnlySpan<ulong> best = top.Best(scaled, FirstLook, Floor);
            if (Cut(best, max, wanted, 0, doubt) is { } early)
                return early;
        }
        (float low, float high, double above) = top.Bracket.Find(scaled, max, Floor, total, wanted, EnoughInside);
        if (Cut(top.Between(scaled, low, high, Floor), max, wanted, above, doubt) is { } border)
            return border;

        double exact = share * LogitMath.SumExp(scaled, max, Floor, MathF.BitIncrement(high), out double before);
        if (before < exact && Cut(top.Between(scaled, low, high, Floor), max, exact, before, 0) is { } sure)
            return sure;

        // The bracket missed, or a share of all but 1 is reached by all tokens or, by rounding, not at all.
        return Cut(top.Between(scaled, float.NegativeInfinity, max, Floor), max, exact, 0, 0) ?? this;
    }

    private Survivors ReachAll(ReadOnlySpan<ulong> keys, float max, double share)
    {
        double total = 0;
        for (int i = keys.Length - 1; i >= 0; i--)
            total += Math.Exp((double)TokenKey.Logit(keys[i]) - max);
        return Cut(keys, max, share * total, 0, 0) ?? this;
    }

    // The last token before the share is reached; null if all of them together do not exceed it, or if a sum is nearer to it
    // than the doubt. Best first.
    private static Survivors? Cut(ReadOnlySpan<ulong> keys, float max, double wanted, double sum, double doubt)
    {
        foreach (ulong key in keys)
        {
            if (Math.Abs(sum - wanted) < doubt)
                return null;
            sum += Math.Exp((double)TokenKey.Logit(key) - max);
            if (sum >= wanted)
                return sum - wanted < doubt ? null : new Survivors(TokenKey.Logit(key), TokenKey.Token(key));
        }
        return null;
    }

    private static float AtLeast(double value)
    {
        float rounded = (float)value;
        return rounded < value ? MathF.BitIncrement(rounded) : rounded;
    }
}
