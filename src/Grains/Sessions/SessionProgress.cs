using System.Collections.Immutable;
using Cluster.Grains.Replicas;
using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Sessions;

/// <summary>
/// The progress row of a session: tokens, log-probabilities and ends of all choices, packed. Layout: version (1 byte),
/// idle since (8), tokens in all, prompts (cached tokens + 1 or 0, scores), choices (end, tokens, scores); numbers have
/// variable length, blocks a length.
/// </summary>
internal static partial class SessionProgress
{
    private const byte Version = 1;

    /// <summary>Packs a transcript.</summary>
    /// <param name="transcript">What was emitted.</param>
    /// <param name="idleSince">When the session ended or lost its last reader, Unix milliseconds; 0 while it has readers.</param>
    public static byte[] Pack(SessionTranscript transcript, long idleSince)
    {
        var writer = new PackedWriter();
        writer.Number(Version);
        writer.Long(idleSince);
        writer.Number(transcript.TokenCount);
        for (int prompt = 0; prompt < transcript.CachedTokens.Count; prompt++)
        {
            writer.Number(transcript.CachedTokens[prompt] + 1 ?? 0);
            writer.Block(PackPrompt(transcript.PromptScores(prompt)));
        }

        foreach (ChoiceTranscript choice in transcript.Choices)
        {
            writer.Number((int)choice.End);
            writer.Block(choice.PackedTokens);
            writer.Block(choice.PackedScores);
        }

        return writer.Written.ToArray();
    }

    /// <summary>Tokens in a packed row: tells which of two rows is ahead.</summary>
    public static int CountTokens(ReadOnlySpan<byte> row) => ReadHead(row, out _).Tokens;

    /// <summary>When a packed row became idle, Unix milliseconds, or 0; null without a readable row.</summary>
    public static long? TryReadIdleSince(byte[]? row)
    {
        try
        {
            return row is null ? null : ReadHead(row, out _).IdleSince;
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    /// <summary>The transcript of a row. A damaged row is told and left aside: its tokens are computed again.</summary>
    public static SessionTranscript Restore(SessionRules rules, byte[]? row, ILogger logger)
    {
        var transcript = new SessionTranscript(rules);
        if (row is null)
            return transcript;
        try
        {
            Unpack(row, transcript);
            return transcript;
        }
        catch (InvalidDataException e)
        {
            LogDamaged(logger, rules.Accepted.SessionId, e.Message);
            return new SessionTranscript(rules);
        }
    }

    /// <summary>Restores a transcript from a packed row.</summary>
    /// <exception cref="InvalidDataException">The row is damaged.</exception>
    public static void Unpack(ReadOnlySpan<byte> row, SessionTranscript transcript)
    {
        int expected = ReadHead(row, out PackedReader reader).Tokens;
        for (int prompt = 0; prompt < transcript.CachedTokens.Count; prompt++)
        {
            int cached = reader.Number();
            transcript.RestorePrompt(prompt, cached == 0 ? null : cached - 1, UnpackPrompt(reader.Block()));
        }

        for (int choice = 0; choice < transcript.Choices.Count; choice++)
        {
            int end = reader.Number();
            if (end > (int)ChoiceEnd.StopString)
                throw new InvalidDataException($"Choice {choice} has the unknown end {end}.");
            transcript.Restore(choice, UnpackTokens(reader.Block(), reader.Block()), (ChoiceEnd)end);
        }

        if (!reader.IsEmpty || transcript.TokenCount != expected)
            throw new InvalidDataException($"The row has {transcript.TokenCount} tokens, its head says {expected}.");
        transcript.Advance();
    }

    private static (int Tokens, long IdleSince) ReadHead(ReadOnlySpan<byte> row, out PackedReader reader)
    {
        reader = new PackedReader(row);
        int version = reader.Number();
        if (version != Version)
            throw new InvalidDataException($"The row has version {version}, this silo reads {Version}.");
        long idleSince = reader.Long();
        return (reader.Number(), idleSince);
    }

    private static GeneratedToken[] UnpackTokens(ReadOnlySpan<byte> tokens, ReadOnlySpan<byte> scores)
    {
        var unpacked = new List<GeneratedToken>();
        var tokenReader = new PackedReader(tokens);
        var scoreReader = new PackedReader(scores);
        while (!tokenReader.IsEmpty)
        {
            int token = tokenReader.Number();
            (float logprob, ImmutableArray<ScoredToken> top) = scores.IsEmpty ? (float.NaN, []) : scoreReader.Scores();
            unpacked.Add(new GeneratedToken(token, logprob, top));
        }

        return [.. unpacked];
    }

    private static ReadOnlySpan<byte> PackPrompt(ImmutableArray<ScoredToken> scores)
    {
        var writer = new PackedWriter();
        foreach (ScoredToken score in scores)
        {
            writer.Number(score.Token);
            writer.Scores(score.Logprob, score.Top);
        }

        return writer.Written;
    }

    private static ImmutableArray<ScoredToken> UnpackPrompt(ReadOnlySpan<byte> block)
    {
        var reader = new PackedReader(block);
        ImmutableArray<ScoredToken>.Builder scores = ImmutableArray.CreateBuilder<ScoredToken>();
        while (!reader.IsEmpty)
        {
            int token = reader.Number();
            (float logprob, ImmutableArray<ScoredToken> top) = reader.Scores();
            scores.Add(new ScoredToken(token, logprob, top));
        }

        return scores.ToImmutable();
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The progress row of session {SessionId} is damaged and left aside: {Reason}")]
    private static partial void LogDamaged(ILogger logger, string sessionId, string reason);
}
