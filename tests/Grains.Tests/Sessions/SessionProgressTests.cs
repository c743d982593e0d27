using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Grains.Sessions;
using CsCheck;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Grains.Tests.Sessions;

public sealed class SessionProgressTests
{
    private static readonly SessionRules Rules = new(
        TestModels.Accept(
            TestModels.WithoutTokenizer,
            TestModels.Request(maxTokens: 6, choices: 2) with { Logprobs = 2, PromptLogprobs = 1 },
            [1, 2, 3],
            [4, 5]),
        TestModels.WithoutTokenizer);

    [Fact]
    public void Row_GivesTheTranscriptBack() => Gen.Int[0, 500].Sample(seed =>
    {
        SessionTranscript transcript = Random(seed);
        byte[] row = SessionProgress.Pack(transcript, idleSince: 123456789012);
        var restored = new SessionTranscript(Rules);
        SessionProgress.Unpack(row, restored);
        Assert.Equal(Describe(transcript), Describe(restored));
        Assert.Equal(row, SessionProgress.Pack(restored, 123456789012));
        Assert.Equal(transcript.TokenCount, SessionProgress.CountTokens(row));
        Assert.Equal(123456789012, SessionProgress.TryReadIdleSince(row));
    }, iter: 200);

    [Fact]
    public void CutRow_IsRefusedAndLeftAside()
    {
        byte[] row = SessionProgress.Pack(Random(7), 5);
        for (int length = 0; length < row.Length; length++)
        {
            byte[] cut = row[..length];
            Assert.Throws<InvalidDataException>(() => SessionProgress.Unpack(cut, new SessionTranscript(Rules)));
            Assert.Equal(0, SessionProgress.Restore(Rules, cut, NullLogger.Instance).TokenCount);
        }
    }

    [Fact]
    public void DamagedRow_NeverGivesAnythingButATranscriptOrARefusal() => Gen.Select(Gen.Int[0, 50], Gen.Int[0, 10000], Gen.Byte).Sample((seed, at, value) =>
    {
        byte[] row = SessionProgress.Pack(Random(seed), 5);
        row[at % row.Length] = value;
        SessionTranscript restored = SessionProgress.Restore(Rules, row, NullLogger.Instance);
        Assert.True(restored.TokenCount <= 24);
    }, iter: 500);

    [Fact]
    public void Numbers_AreKeptAtTheirLimits()
    {
        var writer = new PackedWriter();
        int[] numbers = [0, 1, 127, 128, 16383, 16384, int.MaxValue];
        foreach (int number in numbers)
            writer.Number(number);
        writer.Float(float.NegativeInfinity);
        writer.Long(long.MinValue);
        var reader = new PackedReader(writer.Written);
        foreach (int number in numbers)
            Assert.Equal(number, reader.Number());
        Assert.Equal(float.NegativeInfinity, reader.Float());
        Assert.Equal(long.MinValue, reader.Long());
        Assert.True(reader.IsEmpty);
    }

    private static SessionTranscript Random(int seed)
    {
        var transcript = new SessionTranscript(Rules);
        var random = new Random(seed);
        for (int choice = 0; choice < 4; choice++)
        {
            int[] tokens = FakeReplica.Tokens(seed, choice, random.Next(7), TestModels.Eos);
            transcript.Apply(new SequenceProgress
            {
                Choice = choice,
                FirstIndex = 0,
                Tokens = [.. tokens.Select(token => new GeneratedToken(token, -random.NextSingle(), [new ScoredToken(token + 1, -random.NextSingle(), [])]))],
                PromptLogprobs = choice % 2 == 0 ? [new ScoredToken(2, -1.5f, [new ScoredToken(3, -2.5f, [])])] : [],
                CachedTokens = random.Next(3),
            });
        }

        return transcript;
    }

    private static List<string> Describe(SessionTranscript transcript)
    {
        List<string> lines = [.. transcript.Events.Select(next => $"{SessionTranscriptTests.Spell(next)} {next.Logprob?.Token.Logprob} {next.Logprob?.Top[0].Logprob} {next.Usage}")];
        lines.Add($"{transcript.PromptScores(0)[0].Top[0].Logprob} {string.Join(',', transcript.CachedTokens)} {transcript.TokenCount}");
        lines.AddRange(transcript.Choices.Select(choice => $"{choice.End} {choice.Count}"));
        return lines;
    }
}
