using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Sampling;

/// <summary>
/// Turns a row of logits into a token and log-probabilities. A pure function of the row and the
/// <see cref="SamplingState"/>: nothing else draws random numbers, so batches, shards, resumes and speculation cannot
/// change the answer. One object per device thread; its memory is reused.
/// </summary>
internal sealed class Sampler(int vocabulary)
{
    // Below this a division by the temperature overflows for large logits; vLLM draws the line at the same place.
    private const float GreedyTemperature = 1e-5f;

    private readonly LogitProcessor _processor = new(vocabulary);
    private readonly TopTokens _top = new();
    private readonly float[] _scaled = new float[vocabulary];

    /// <summary>Does what is asked of one row.</summary>
    /// <param name="logits">Raw logits [vocabulary].</param>
    /// <param name="request">What is wanted.</param>
    /// <exception cref="NonFiniteLogitException">A logit is NaN or +infinity, or no token may be drawn.</exception>
    public LogitResult Choose(ReadOnlySpan<float> logits, LogitRequest request)
    {
        float max = LogitMath.Max(logits);
        int token = request.Sampling is { } state ? Draw(logits, max, state) : -1;
        if (request.TopLogprobs < 0)
            return new LogitResult(token, float.NaN, []);
        double total = LogitMath.LogSumExp(logits, max);
        int scored = token >= 0 ? token : request.ScoredToken;
        float logprob = scored >= 0 ? (float)(logits[scored] - total) : float.NaN;
        return new LogitResult(token, logprob, TopScores(logits, request.TopLogprobs, total));
    }

    /// <summary>Whether a request wants nothing but the token with the greatest logit or score, so that each part of a vocabulary can say its own.</summary>
    public static bool WantsBestOnly(LogitRequest request)
    {
        if (request.TopLogprobs >= 0 || request.Sampling is not { } state || LogitProcessor.IsActive(state))
            return false;
        SamplingParameters parameters = state.Parameters;
        return parameters.Temperature < GreedyTemperature || (parameters.TopK <= 0 && parameters.TopP >= 1 && parameters.MinP <= 0);
    }

    /// <summary>The best token of a part of the vocabulary, of a request that <see cref="WantsBestOnly"/>.</summary>
    /// <param name="logits">Raw logits of the part.</param>
    /// <param name="firstToken">Its first token, a multiple of <see cref="GumbelNoise.BlockTokens"/> unless greedy.</param>
    /// <param name="state">What is drawn by.</param>
    public TokenBest Best(ReadOnlySpan<float> logits, int firstToken, SamplingState state)
    {
        try
        {
            float max = LogitMath.Max(logits), temperature = state.Parameters.Temperature;
            if (temperature < GreedyTemperature)
                return new TokenBest(max, firstToken + logits.IndexOf(max), 0, false);
            ReadOnlySpan<float> scaled = logits;
            if (temperature != 1)
            {
                LogitMath.Divide(logits, temperature, _scaled);
                scaled = _scaled.AsSpan(0, logits.Length);
                max = LogitMath.Max(scaled);
            }
            int token = GumbelMax.DrawAny(scaled, max, new GumbelNoise(state.Seed, state.Choice, state.Position, firstToken), out double score);
            return new TokenBest(score, firstToken + token, 0, false);
        }
        catch (NonFiniteLogitException failure)
        {
            // A part whose logits are all -infinity has no token, but that is no failure of the whole.
            return failure.Token < 0 ? TokenBest.None : new TokenBest(0, firstToken + failure.Token, failure.Logit, true);
        }
    }

    /// <summary>Draws a token; <paramref name="max"/> is the greatest raw logit.</summary>
    private int Draw(ReadOnlySpan<float> logits, float max, SamplingState state)
    {
        SamplingParameters parameters = state.Parameters;
        ReadOnlySpan<float> processed = _processor.Process(logits, state);
        if (parameters.Temperature < GreedyTemperature)
            return processed == logits ? logits.IndexOf(max) : LogitMath.ArgMax(processed);
        ReadOnlySpan<float> scaled = processed;
        if (parameters.Temperature != 1)
        {
            LogitMath.Divide(processed, parameters.Temperature, _scaled);
            scaled = _scaled;
        }
        float scaledMax = scaled == logits ? max : LogitMath.Max(scaled);
        Survivors survivors = Survivors.Of(scaled, scaledMax, parameters, _top);
        return GumbelMax.Draw(scaled, scaledMax, survivors, new GumbelNoise(state.Seed, state.Choice, state.Position));
    }

    private TokenScore[] TopScores(ReadOnlySpan<float> logits, int count, double total)
    {
        ReadOnlySpan<ulong> best = _top.Best(logits, count);
        var scores = new TokenScore[best.Length];
        for (int i = 0; i < scores.Length; i++)
            scores[i] = new TokenScore(TokenKey.Token(best[i]), (float)(TokenKey.Logit(best[i]) - total));
        return scores;
    }
}
