namespace Cluster.Kernels.Sampling;

/// <summary>
/// What a request changes about raw logits before temperature, in vLLM's order: logit_bias, repetition penalty (prompt and
/// output), frequency and presence penalty (output), banned tokens. One object per device thread; its memory is reused.
/// </summary>
internal sealed class LogitProcessor(int vocabulary)
{
    private readonly float[] _logits = new float[vocabulary];
    private readonly int[] _seen = new int[vocabulary];     // 0 = not seen, n + 1 = n times in the output
    private readonly List<int> _touched = [];

    /// <summary>Whether prompt and output tokens are read at all.</summary>
    public static bool ReadsTokens(SamplingParameters parameters) =>
        parameters.RepetitionPenalty != 1 || parameters.FrequencyPenalty != 0 || parameters.PresencePenalty != 0;

    /// <summary>Whether anything is changed.</summary>
    public static bool IsActive(SamplingState state) =>
        ReadsTokens(state.Parameters) || state.Parameters.LogitBias.Count > 0 || state.BannedTokens.Count > 0;

    /// <summary>The changed logits; <paramref name="raw"/> itself if nothing is to be changed. Valid until the next call.</summary>
    public ReadOnlySpan<float> Process(ReadOnlySpan<float> raw, SamplingState state)
    {
        SamplingParameters parameters = state.Parameters;
        bool penalises = ReadsTokens(parameters);
        if (!IsActive(state))
            return raw;
        raw.CopyTo(_logits);
        foreach ((int token, float bias) in parameters.LogitBias)
            _logits[token] += bias;
        if (penalises)
            Penalise(parameters, state.Tokens.Span, state.PromptLength);
        foreach (int token in state.BannedTokens)
            _logits[token] = float.NegativeInfinity;
        return _logits;
    }

    private void Penalise(SamplingParameters parameters, ReadOnlySpan<int> tokens, int promptLength)
    {
        for (int i = 0; i < tokens.Length; i++)
        {
            int token = tokens[i];
            if (_seen[token] == 0)
            {
                _seen[token] = 1;
                _touched.Add(token);
            }
            if (i >= promptLength)
                _seen[token]++;
        }
        foreach (int token in _touched)
        {
            int occurrences = _seen[token] - 1;
            float logit = _logits[token];
            logit = logit > 0 ? logit / parameters.RepetitionPenalty : logit * parameters.RepetitionPenalty;
            if (occurrences > 0)
                logit = logit - parameters.FrequencyPenalty * occurrences - parameters.PresencePenalty;
            _logits[token] = logit;
            _seen[token] = 0;
        }
        _touched.Clear();
    }
}
