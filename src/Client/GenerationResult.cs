using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Client;

/// <summary>A whole answer.</summary>
public sealed record GenerationResult
{
    /// <summary>The session that made it.</summary>
    public required string SessionId { get; init; }

    /// <summary>Served model name.</summary>
    public required string Model { get; init; }

    /// <summary>When the request was accepted.</summary>
    public required DateTimeOffset Created { get; init; }

    /// <summary>The choices in order: prompt index * n + choice.</summary>
    public required ImmutableArray<GenerationChoice> Choices { get; init; }

    /// <summary>Prompts as the model saw them; empty if the server does not say.</summary>
    public ImmutableArray<PromptDescription> Prompts { get; init; } = [];

    /// <summary>Token totals.</summary>
    public required TokenUsage Usage { get; init; }

    /// <summary>Text of the first choice.</summary>
    public string Text => Choices[0].Text;
}

/// <summary>One choice of an answer.</summary>
public sealed record GenerationChoice
{
    /// <summary>Prompt index * n + choice.</summary>
    public required int Index { get; init; }

    /// <summary>Generated text (with the prompt before it, if echo was asked for).</summary>
    public required string Text { get; init; }

    /// <summary>Generated token ids; -1 for a token whose id the server did not say.</summary>
    public required ImmutableArray<int> TokenIds { get; init; }

    /// <summary>Log-probabilities, one per token; empty unless asked for.</summary>
    public ImmutableArray<TokenLogprob> Logprobs { get; init; } = [];

    /// <summary>stop or length.</summary>
    public required string FinishReason { get; init; }

    /// <summary>The stop string that ended the choice, if one did.</summary>
    public string? StopString { get; init; }

    /// <summary>The stop token that ended the choice, if one did.</summary>
    public int? StopToken { get; init; }
}
