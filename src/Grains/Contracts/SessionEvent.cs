using System.Collections.Immutable;

namespace Cluster.Contracts;

/// <summary>
/// One event of a session's stream. Events are numbered from 0 and leave in canonical order: token t of every live
/// choice by index, before token t + 1; the finish event of a choice comes right where its next token would have come.
/// The sequence is a pure function of the tokens, so a reader resumes after any number it has seen.
/// </summary>
[GenerateSerializer, Immutable, Alias("Cluster.SessionEvent")]
public sealed record SessionEvent
{
    /// <summary>Position in the stream.</summary>
    [Id(0)] public required long SequenceNumber { get; init; }

    /// <summary>What happened.</summary>
    [Id(1)] public required SessionEventKind Kind { get; init; }

    /// <summary>Choice index: prompt index * n + choice. 0 for <see cref="SessionEventKind.Usage"/>.</summary>
    [Id(2)] public int Choice { get; init; }

    /// <summary>The generated token (<see cref="SessionEventKind.Token"/>).</summary>
    [Id(3)] public int TokenId { get; init; }

    /// <summary>Text released by this event; may be empty while UTF-8 or a stop string is held back.</summary>
    [Id(4)] public string Text { get; init; } = "";

    /// <summary>Log-probability of the token, if asked for.</summary>
    [Id(5)] public TokenLogprob? Logprob { get; init; }

    /// <summary>stop or length (<see cref="SessionEventKind.Finish"/>).</summary>
    [Id(6)] public string? FinishReason { get; init; }

    /// <summary>The stop string that ended the choice, if one did.</summary>
    [Id(7)] public string? StopString { get; init; }

    /// <summary>The stop token that ended the choice, if one did (not the end-of-sequence token).</summary>
    [Id(8)] public int? StopToken { get; init; }

    /// <summary>Totals (<see cref="SessionEventKind.Usage"/>, always the last event).</summary>
    [Id(9)] public TokenUsage? Usage { get; init; }
}

/// <summary>Kind of a <see cref="SessionEvent"/>.</summary>
[GenerateSerializer, Alias("Cluster.SessionEventKind")]
public enum SessionEventKind
{
    /// <summary>A token was generated.</summary>
    Token = 0,

    /// <summary>A choice ended.</summary>
    Finish = 1,

    /// <summary>All choices ended; the stream is complete.</summary>
    Usage = 2,
}

/// <summary>Log-probability of one token under the raw distribution.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.TokenLogprob")]
public sealed record TokenLogprob(
    [property: Id(0)] TokenAlternative Token,
    [property: Id(1)] ImmutableArray<TokenAlternative> Top);

/// <summary>A token as text and bytes with its log-probability (NaN for the first prompt token, which has none).</summary>
[GenerateSerializer, Immutable, Alias("Cluster.TokenAlternative")]
public sealed record TokenAlternative(
    [property: Id(0)] int TokenId,
    [property: Id(1)] string Text,
    [property: Id(2)] ImmutableArray<byte> Bytes,
    [property: Id(3)] float Logprob);

/// <summary>Token totals of a session.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.TokenUsage")]
public sealed record TokenUsage(
    [property: Id(0)] int PromptTokens,
    [property: Id(1)] int CompletionTokens,
    [property: Id(2)] int CachedTokens);
