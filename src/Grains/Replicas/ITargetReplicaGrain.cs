using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Delivery;

namespace Cluster.Grains.Replicas;

/// <summary>One complete copy of a target model over one or more shards. Key: model/index.</summary>
[Alias("Cluster.ITargetReplicaGrain")]
internal interface ITargetReplicaGrain : IGrainWithStringKey
{
    /// <summary>
    /// Queues the sequences and streams what they generate, in batches of whatever is there. Ends when all sequences have
    /// finished; disposing the enumerator cancels them and frees their blocks within one step. The caller is the truth: it
    /// passes all tokens it already has, and a replacement replica goes on from there. With an inbox (see
    /// <see cref="SequenceGroup.Inbox"/>) the news go there and the stream itself stays empty.
    /// </summary>
    /// <exception cref="RequestRejectedException">The queue is full (<see cref="RejectionReason.Overloaded"/>), before any work.</exception>
    [Alias("Generate")]
    IAsyncEnumerable<SequenceProgress> Generate([Immutable] SequenceGroup group, CancellationToken cancellationToken);

    /// <summary>
    /// Ends one sequence of a session's group, for a reason that only the session sees (a stop string); its blocks are free
    /// within one step, the others go on. No further news of it come. Nothing happens when there is no such sequence.
    /// </summary>
    [Alias("Drop")]
    [Orleans.Concurrency.AlwaysInterleave]
    Task Drop(string sessionId, int choice);

    /// <summary>
    /// The next tokens of sequences of another replica, as this replica's model would draw them; for a sequence that cannot be served none. Each
    /// group has one sequence. Sequences known from the rounds before are found in the prefix cache.
    /// </summary>
    /// <returns>New tokens of each group, in their order.</returns>
    [Alias("Propose"), ResponseTimeout("00:00:05")]
    [Orleans.Concurrency.AlwaysInterleave]
    Task<ImmutableArray<ImmutableArray<int>>> Propose([Immutable] ImmutableArray<SequenceGroup> groups);

    /// <summary>The topology does without this replica: its sequences go back to their sessions, which go on with another one.</summary>
    [Alias("Retire")]
    [Orleans.Concurrency.AlwaysInterleave]
    Task Retire();

    /// <summary>Load now.</summary>
    [Alias("GetLoad")]
    [Orleans.Concurrency.AlwaysInterleave]
    Task<ReplicaLoad> GetLoad();
}

/// <summary>The sequences of one session that are still live, submitted together.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SequenceGroup")]
internal sealed record SequenceGroup
{
    /// <summary>Session id; fairness is among sessions.</summary>
    [Id(0)] public required string SessionId { get; init; }

    /// <summary>Lower runs earlier.</summary>
    [Id(1)] public required int Priority { get; init; }

    /// <summary>When the session was accepted (Unix milliseconds): order among equals, also after a resume.</summary>
    [Id(2)] public required long AcceptedAt { get; init; }

    /// <summary>Sampling with all defaults filled in and the seed drawn.</summary>
    [Id(3)] public required SamplingOptions Sampling { get; init; }

    /// <summary>Seed of the request.</summary>
    [Id(4)] public required ulong Seed { get; init; }

    /// <summary>Token ids that end a choice with "stop" (end-of-sequence ids unless ignored, and stop_token_ids).</summary>
    [Id(5)] public required ImmutableArray<int> StopTokens { get; init; }

    /// <summary>No stop token may be drawn before this many generated tokens.</summary>
    [Id(6)] public required int MinTokens { get; init; }

    /// <summary>Alternatives per generated token; -1 = no log-probabilities.</summary>
    [Id(7)] public required int TopLogprobs { get; init; }

    /// <summary>Alternatives per prompt token; -1 = none. Reported by the sequence with <see cref="SequenceStart.ReportPromptLogprobs"/>.</summary>
    [Id(8)] public required int PromptTopLogprobs { get; init; }

    /// <summary>The sequences.</summary>
    [Id(9)] public required ImmutableArray<SequenceStart> Sequences { get; init; }

    /// <summary>Whether these are guesses for another replica, which counts what comes of them.</summary>
    [Id(10)] public bool IsDraft { get; init; }

    /// <summary>Where a reader in the replica's own silo takes the news. Not serialized: a replica elsewhere finds null.</summary>
    [field: NonSerialized]
    public Inbox<SequenceProgress>? Inbox { get; init; }
}

/// <summary>Where one sequence starts.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SequenceStart")]
internal sealed record SequenceStart
{
    /// <summary>Choice index in the session (also the key of its random numbers).</summary>
    [Id(0)] public required int Choice { get; init; }

    /// <summary>Prompt tokens.</summary>
    [Id(1)] public required ImmutableArray<int> Prompt { get; init; }

    /// <summary>Tokens generated so far (a resume); empty for a new sequence.</summary>
    [Id(2)] public required ImmutableArray<int> Generated { get; init; }

    /// <summary>Most tokens to generate in all, including <see cref="Generated"/>.</summary>
    [Id(3)] public required int MaxTokens { get; init; }

    /// <summary>Report the prompt's log-probabilities (once per prompt).</summary>
    [Id(4)] public bool ReportPromptLogprobs { get; init; }
}

/// <summary>News of one sequence.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SequenceProgress")]
internal sealed record SequenceProgress
{
    /// <summary>Choice index in the session.</summary>
    [Id(0)] public required int Choice { get; init; }

    /// <summary>Index of the first of <see cref="Tokens"/> among the generated tokens.</summary>
    [Id(1)] public required int FirstIndex { get; init; }

    /// <summary>New tokens.</summary>
    [Id(2)] public ImmutableArray<GeneratedToken> Tokens { get; init; } = [];

    /// <summary>Log-probabilities of prompt tokens 1.. (prompt token 0 has none), once.</summary>
    [Id(3)] public ImmutableArray<ScoredToken> PromptLogprobs { get; init; } = [];

    /// <summary>Why the sequence ended, or null.</summary>
    [Id(4)] public SequenceEnd? End { get; init; }

    /// <summary>Prompt tokens found in the prefix cache (in the first report).</summary>
    [Id(5)] public int CachedTokens { get; init; }
}

/// <summary>A generated token; <see cref="Logprob"/> is NaN and <see cref="Top"/> empty when not asked for.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.GeneratedToken")]
internal readonly record struct GeneratedToken(
    [property: Id(0)] int Token,
    [property: Id(1)] float Logprob,
    [property: Id(2)] ImmutableArray<ScoredToken> Top);

/// <summary>A token with its raw log-probability, and the alternatives at its place when it is a prompt token.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ScoredToken")]
internal readonly record struct ScoredToken(
    [property: Id(0)] int Token,
    [property: Id(1)] float Logprob,
    [property: Id(2)] ImmutableArray<ScoredToken> Top);

/// <summary>Why a sequence ended.</summary>
[GenerateSerializer, Alias("Cluster.SequenceEnd")]
internal enum SequenceEnd
{
    /// <summary>A stop token was drawn (it is the last of the generated tokens).</summary>
    StopToken = 0,

    /// <summary>The token limit was reached.</summary>
    Length = 1,
}
