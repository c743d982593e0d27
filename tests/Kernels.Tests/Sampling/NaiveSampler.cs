using Cluster.Kernels.Sampling;

namespace Cluster.Kernels.Tests.Sampling;

/// <summary>The sampler's definition, spelled out with sorts and full passes in double precision.</summary>
internal static class NaiveSampler
{
    /// <summary>Processed and scaled logits; tokens that may not be drawn are -infinity.</summary>
    public static double[] Process(float[] raw, SamplingState state)
    {
        SamplingParameters p = state.Parameters;
        var logits = raw.Select(x => x).ToArray();
        foreach ((int token, float bias) in p.LogitBias)
            logits[token] += bias;
        int[] tokens = state.Tokens.ToArray();
        int[] output = tokens[state.PromptLength..];
        for (int token = 0; token < logits.Length; token++)
        {
            if (tokens.Contains(token))
                logits[token] = logits[token] > 0 ? logits[token] / p.RepetitionPenalty : logits[token] * p.RepetitionPenalty;
            int count = output.Count(other => other == token);
            if (count > 0)
                logits[token] = logits[token] - p.FrequencyPenalty * count - p.PresencePenalty;
        }
        foreach (int token in state.BannedTokens)
            logits[token] = float.NegativeInfinity;
        double[] scaled = [.. logits.Select(x => (double)(x / p.Temperature))];
        return TopP(TopK(MinP(scaled, p.MinP), p.TopK), p.TopP);
    }

    public static int Draw(float[] raw, SamplingState state)
    {
        double[] scaled = Process(raw, state);
        var noise = new GumbelNoise(state.Seed, state.Choice, state.Position);
        int best = -1;
        double bestScore = double.NegativeInfinity;
        for (int token = 0; token < scaled.Length; token++)
        {
            double score = scaled[token] + noise.Of(token);
            if (score > bestScore)
                (best, bestScore) = (token, score);
        }
        return best;
    }

    public static double[] Softmax(double[] logits)
    {
        double max = logits.Max();
        double[] weights = [.. logits.Select(x => Math.Exp(x - max))];
        double total = weights.Sum();
        return [.. weights.Select(w => w / total)];
    }

    private static double[] MinP(double[] logits, double minP)
    {
        double[] probabilities = Softmax(logits);
        double limit = minP * probabilities.Max();
        return [.. logits.Select((x, i) => probabilities[i] >= limit ? x : double.NegativeInfinity)];
    }

    private static double[] TopK(double[] logits, int k)
    {
        if (k <= 0 || k >= logits.Length)
            return logits;
        double limit = logits.OrderDescending().ElementAt(k - 1);
        return [.. logits.Select(x => x >= limit ? x : double.NegativeInfinity)];
    }

    private static double[] TopP(double[] logits, double topP)
    {
        if (topP >= 1)
            return logits;
        double max = logits.Max();
        // Not normalised: 1/14 seven times is not 1/2 in binary.
        double[] weights = [.. logits.Select(x => Math.Exp(x - max))];
        double wanted = topP * weights.Sum();
        double[] kept = [.. logits.Select(_ => double.NegativeInfinity)];
        double before = 0;
        foreach (int token in Enumerable.Range(0, logits.Length).OrderByDescending(i => logits[i]).ThenBy(i => i))
        {
            if (before >= wanted)
                break;
            kept[token] = logits[token];
            before += weights[token];
        }
        return kept;
    }
}
