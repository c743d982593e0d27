namespace Cluster.Contracts;

/// <summary>How a model's replicas guess tokens ahead (<c>--speculative-config</c>, vLLM's keys). Guesses change the speed, never the tokens.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SpeculativeConfig")]
public sealed record SpeculativeConfig
{
    /// <summary>Method that looks the last tokens up in the sequence itself.</summary>
    public const string Ngram = "ngram";

    /// <summary>Method that asks a smaller model of the same vocabulary.</summary>
    public const string DraftModel = "draft_model";

    /// <summary>Most tokens that are guessed at once.</summary>
    public const int MaxTokens = 32;

    /// <summary>Where guesses come from: <see cref="Ngram"/> or <see cref="DraftModel"/>.</summary>
    [Id(0)] public required string Method { get; init; }

    /// <summary>Most tokens guessed per step, 1..<see cref="MaxTokens"/>.</summary>
    [Id(1)] public required int NumSpeculativeTokens { get; init; }

    /// <summary>Longest ending that is looked up, in tokens.</summary>
    [Id(2)] public int PromptLookupMax { get; init; } = 5;

    /// <summary>Shortest ending that is looked up, in tokens.</summary>
    [Id(3)] public int PromptLookupMin { get; init; } = 2;

    /// <summary>Served name of the draft model, a declared model of its own.</summary>
    [Id(4)] public string? Model { get; init; }

    /// <summary>Always guess <see cref="NumSpeculativeTokens"/> tokens, instead of as many as pay by what was measured (for experiments).</summary>
    [Id(5)] public bool IsFixedLength { get; init; }
}
