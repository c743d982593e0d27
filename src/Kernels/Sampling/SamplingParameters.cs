namespace Cluster.Kernels.Sampling;

/// <summary>How a token is chosen from logits; the neutral value of every field leaves the distribution as it is.</summary>
public sealed record SamplingParameters
{
    /// <summary>0 = greedy.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Keep the k most likely tokens; 0 or less = all.</summary>
    public int TopK { get; init; }

    /// <summary>Keep the smallest set whose probability reaches this; 1 = all.</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Drop tokens less likely than this share of the most likely one; 0 = none.</summary>
    public float MinP { get; init; }

    /// <summary>Divides (positive) or multiplies (negative) the logits of tokens seen in prompt or output; 1 = off.</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>Subtracted per occurrence in the output; 0 = off.</summary>
    public float FrequencyPenalty { get; init; }

    /// <summary>Subtracted once for tokens in the output; 0 = off.</summary>
    public float PresencePenalty { get; init; }

    /// <summary>Added to the logits of given tokens.</summary>
    public IReadOnlyDictionary<int, float> LogitBias { get; init; } = new Dictionary<int, float>();
}

/// <summary>
/// All that a draw depends on. Token = argmax over processed logits + Gumbel noise from Philox4x32-10 keyed by (seed,
/// choice, position, token id): a pure function, so batches, shards, resumes and speculation cannot change the answer.
/// </summary>
public sealed record SamplingState
{
    /// <summary>Parameters of the request.</summary>
    public required SamplingParameters Parameters { get; init; }

    /// <summary>Seed of the request.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Index of the choice within the request.</summary>
    public required int Choice { get; init; }

    /// <summary>Absolute position of the token to draw.</summary>
    public required int Position { get; init; }

    /// <summary>Prompt and output tokens so far (only read when a penalty is on).</summary>
    public required ReadOnlyMemory<int> Tokens { get; init; }

    /// <summary>How many of <see cref="Tokens"/> are prompt.</summary>
    public required int PromptLength { get; init; }

    /// <summary>Tokens that may not be drawn now (end-of-sequence before min_tokens).</summary>
    public IReadOnlyList<int> BannedTokens { get; init; } = [];
}
