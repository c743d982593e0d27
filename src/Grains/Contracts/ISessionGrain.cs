using System.Collections.Immutable;

namespace Cluster.Contracts;

/// <summary>
/// One request's life, from submit to last token. The key is an unguessable session id. The session is the truth of what
/// was emitted and survives the death of its silo: a client that lost its connection attaches again after the last
/// sequence number it saw.
/// </summary>
[Alias("Cluster.ISessionGrain")]
public interface ISessionGrain : IGrainWithStringKey
{
    /// <summary>
    /// Validates, tokenizes and durably accepts the request. Idempotent: the same request again returns the same answer.
    /// Generation runs while a reader is attached (or always, with <see cref="GenerationRequest.Background"/>).
    /// </summary>
    /// <exception cref="RequestRejectedException">The request is refused before any work.</exception>
    [Alias("Start")]
    Task<SessionDescription> Start([Immutable] GenerationRequest request, CancellationToken cancellationToken);

    /// <summary>What was accepted and how far it is.</summary>
    /// <exception cref="RequestRejectedException">No such session of this owner (<see cref="RejectionReason.SessionNotFound"/>).</exception>
    [Alias("Describe")]
    Task<SessionDescription> Describe(string owner, CancellationToken cancellationToken);

    /// <summary>
    /// Streams the events from <paramref name="fromSequenceNumber"/> on, past ones first, and ends after the usage event.
    /// Each reader has its own cursor. When the last reader leaves, generation pauses within one step.
    /// </summary>
    /// <exception cref="RequestRejectedException">No such session, or it was cancelled.</exception>
    [Alias("Attach")]
    IAsyncEnumerable<SessionEvent> Attach(string owner, long fromSequenceNumber, CancellationToken cancellationToken);

    /// <summary>Ends the session and forgets it. True if there was one.</summary>
    [Alias("Cancel")]
    Task<bool> Cancel(string owner, CancellationToken cancellationToken);
}

/// <summary>What a session accepted.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SessionDescription")]
public sealed record SessionDescription
{
    /// <summary>The session's id.</summary>
    [Id(0)] public required string Id { get; init; }

    /// <summary>When it was accepted, Unix seconds.</summary>
    [Id(1)] public required long Created { get; init; }

    /// <summary>Served model name.</summary>
    [Id(2)] public required string Model { get; init; }

    /// <summary>Completion or chat.</summary>
    [Id(3)] public required RequestKind Kind { get; init; }

    /// <summary>Choices per prompt.</summary>
    [Id(4)] public required int Choices { get; init; }

    /// <summary>The prompts as token ids.</summary>
    [Id(5)] public required ImmutableArray<PromptDescription> Prompts { get; init; }

    /// <summary>As requested.</summary>
    [Id(6)] public required PresentationOptions Presentation { get; init; }

    /// <summary>Digest of configuration and tensors of the model that answers.</summary>
    [Id(7)] public required string ModelFingerprint { get; init; }

    /// <summary>The seed in use (drawn if none was given).</summary>
    [Id(8)] public required long Seed { get; init; }

    /// <summary>Alternatives per token as requested; null = no log-probabilities.</summary>
    [Id(9)] public int? Logprobs { get; init; }

    /// <summary>Where the session is.</summary>
    [Id(10)] public SessionStatus Status { get; init; }

    /// <summary>Events that exist so far.</summary>
    [Id(11)] public long EventCount { get; init; }
}

/// <summary>One prompt of a session.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.PromptDescription")]
public sealed record PromptDescription
{
    /// <summary>Token ids.</summary>
    [Id(0)] public required ImmutableArray<int> TokenIds { get; init; }

    /// <summary>Text (for echo); empty for models without a tokenizer.</summary>
    [Id(1)] public string Text { get; init; } = "";

    /// <summary>
    /// Log-probabilities of the prompt tokens if asked for; available once the prompt was computed, that is, from the
    /// first event of the prompt's first choice on (ask again with <see cref="ISessionGrain.Describe"/>).
    /// </summary>
    [Id(2)] public ImmutableArray<TokenLogprob> Logprobs { get; init; } = [];
}

/// <summary>Where a session is in its life.</summary>
[GenerateSerializer, Alias("Cluster.SessionStatus")]
public enum SessionStatus
{
    /// <summary>Generating, or waiting for its turn.</summary>
    Running = 0,

    /// <summary>No reader is attached; a resume goes on.</summary>
    Paused = 1,

    /// <summary>All choices ended.</summary>
    Finished = 2,
}
