namespace Cluster.Kernels.Execution;

/// <summary>Result of a step on the rank that holds the LM head: one entry per <see cref="ForwardBatch.LogitRows"/>.</summary>
public sealed record ForwardOutput(LogitResult[] Results)
{
    /// <summary>What a rank without the LM head returns.</summary>
    public static ForwardOutput Empty { get; } = new([]);
}

/// <summary>What came of one row of logits.</summary>
/// <param name="Token">Sampled token, or -1.</param>
/// <param name="Logprob">Log-probability of the sampled or scored token under the raw distribution (NaN if not asked for).</param>
/// <param name="Top">Most likely tokens with raw log-probabilities, best first; empty if not asked for.</param>
public sealed record LogitResult(int Token, float Logprob, TokenScore[] Top);

/// <summary>A token and its raw log-probability.</summary>
public readonly record struct TokenScore(int Token, float Logprob);
