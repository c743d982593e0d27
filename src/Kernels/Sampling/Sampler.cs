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
