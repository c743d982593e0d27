using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Sessions;

/// <summary>
/// What a session accepted, written once before the first byte leaves. Together with the generated tokens it decides
/// every event of the session.
/// </summary>
[GenerateSerializer, Immutable, Alias("Cluster.AcceptRecord")]
internal sealed record AcceptRecord
{
    /// <summary>The session's id.</summary>
    [Id(0)] public required string SessionId { get; init; }

    /// <summary>The request with all defaults filled in and the seed drawn; prompts, messages and template variables are left out.</summary>
    [Id(1)] public required GenerationRequest Request { get; init; }

    /// <summary>The prompts as token ids.</summary>
    [Id(2)] public required ImmutableArray<PromptDescription> Prompts { get; init; }

    /// <summary>Most tokens to generate, per prompt.</summary>
    [Id(3)] public required ImmutableArray<int> MaxTokens { get; init; }

    /// <summary>When it was accepted, Unix milliseconds.</summary>
    [Id(4)] public required long AcceptedAt { get; init; }

    /// <summary>Digest of the model that answers.</summary>
    [Id(5)] public required string ModelFingerprint { get; init; }

    /// <summary>SHA-256 of the request as it came: tells a repetition from another request under the same id.</summary>
    [Id(6)] public required ImmutableArray<byte> RequestDigest { get; init; }

    /// <summary>Choices of all prompts.</summary>
    public int ChoiceCount => Prompts.Length * Request.Choices;

    /// <summary>The prompt that a choice answers.</summary>
    public int PromptOf(int choice) => choice / Request.Choices;

    /// <summary>Seed of the request.</summary>
    public ulong Seed => unchecked((ulong)Request.Sampling.Seed!.Value);

    /// <summary>The contract's view.</summary>
    public SessionDescription Describe(SessionStatus status, long eventCount, ImmutableArray<PromptDescription> prompts) => new()
    {
        Id = SessionId,
        Created = AcceptedAt / 1000,
        Model = Request.Model,
        Kind = Request.Kind,
        Choices = Request.Choices,
        Prompts = prompts,
        Presentation = Request.Presentation,
        ModelFingerprint = ModelFingerprint,
        Seed = Request.Sampling.Seed!.Value,
        Logprobs = Request.Logprobs,
        Status = status,
        EventCount = eventCount,
    };
}
