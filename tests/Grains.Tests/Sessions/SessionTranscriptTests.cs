using System.Text;
using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Grains.Sessions;
using CsCheck;

namespace Cluster.Grains.Tests.Sessions;

public sealed class SessionTranscriptTests
{
    [Fact]
    public void Events_ComeInCanonicalOrder()
    {
        SessionTranscript transcript = New(TestModels.WithoutTokenizer, TestModels.Request(maxTokens: 3, choices: 3));
        Give(transcript, 2, 0, 30, 31, 32);
        Assert.Empty(transcript.Events);
        Give(transcript, 0, 0, 10, TestModels.Eos);
        Assert.Equal(["0:10"], Spell(transcript));
        Give(transcript, 1, 0, 20, 21, 22);
        string[] expected = ["0:10", "1:20", "2:30", "0:2", "1:21", "2:31", "0 stop", "1:22", "2:32", "1 length", "2 length", "usage 3+8"];
        Assert.Equal(expected, Spell(transcript));
        Assert.Equal(Enumerable.Range(0, expected.Length).Select(number => (long)number), transcript.Events.Select(next => next.SequenceNumber));
        Assert.True(transcript.IsComplete);
    }

    [Fact]
    public void Prompts_AreNumberedBeforeChoices()
    {
        GenerationRequest request = TestModels.Request(maxTokens: 1, choices: 2);
        SessionTranscript transcript = New(TestModels.WithoutTokenizer, request, [1, 2], [3]);
        foreach (int choice in new[] { 3, 1, 0, 2 })
            Give(transcript, choice, 0, 10 + choice);
        Assert.Equal(["0:10", "1:11", "2:12", "3:13", "0 length", "1 length", "2 length", "3 length", "usage 3+4"], Spell(transcript));
    }

    [Fact]
    public void WhatIsKnownOrDoesNotFollow_IsIgnored()
    {
        SessionTranscript transcript = New(TestModels.WithoutTokenizer, TestModels.Request(maxTokens: 4));
        Assert.Equal(2, Give(transcript, 0, 0, 10, 11));
        Assert.Equal(0, Give(transcript, 0, 0, 99));
        Assert.Equal(0, Give(transcript, 0, 3, 13));
        Assert.Equal(0, Give(transcript, 7, 0, 13));
        Assert.Equal(1, Give(transcript, 0, 1, 99, 12));
        Assert.Equal(1, Give(transcript, 0, 3, 13, 14));
        Assert.Equal(["0:10", "0:11", "0:12", "0:13", "0 length", "usage 3+4"], Spell(transcript));
    }

    [Fact]
    public void AnyArrival_GivesTheSameEvents() => Gen.Select(Gen.Int[1, 4], Gen.Int[1, 9], Gen.Int[0, 1000]).Sample((choices, most, seed) =>
    {
        GenerationRequest request = TestModels.Request(maxTokens: most, choices: choices);
        int[][] tokens = [.. Enumerable.Range(0, choices).Select(choice => FakeReplica.Tokens(seed, choice, most, TestModels.Eos))];
        SessionTranscript whole = New(TestModels.WithoutTokenizer, request);
        for (int choice = 0; choice < choices; choice++)
            Give(whole, choice, 0, tokens[choice]);

        SessionTranscript pieces = New(TestModels.WithoutTokenizer, request);
        var random = new Random(seed);
        while (!pieces.IsComplete)
        {
            int choice = random.Next(choices), have = pieces.Choices[choice].Count;
            int from = random.Next(have + 1);
            Give(pieces, choice, from, [.. tokens[choice].Skip(from).Take(random.Next(4))]);
        }

        Assert.Equal(Spell(whole), Spell(pieces));
    }, iter: 200);

    [Fact]
    public void StopString_TruncatesAndDropsTheRest()
    {
        SessionTranscript transcript = New(TestModels.WithTokenizer, TestModels.Request(40, 1, "END"));
        Assert.Equal(7, Give(transcript, 0, 0, Bytes("one.ENDtwo")));
        Assert.Equal("one.", Text(transcript));
        SessionEvent finish = transcript.Events[^2];
        Assert.Equal(("stop", "END", null), (finish.FinishReason, finish.StopString, finish.StopToken));
        Assert.Equal(new TokenUsage(3, 7, 0), transcript.Events[^1].Usage);
    }

    [Fact]
    public void StopString_StaysIfAsked()
    {
        GenerationRequest request = TestModels.Request(40, 1, "END");
        SessionTranscript transcript = New(TestModels.WithTokenizer, request with { Stop = request.Stop with { IncludeStopString = true } });
        Give(transcript, 0, 0, Bytes("one.ENDtwo"));
        Assert.Equal("one.END", Text(transcript));
    }

    [Fact]
    public void StopString_DoesNotEndBeforeMinTokens()
    {
        GenerationRequest request = TestModels.Request(12, 1, "x");
        SessionTranscript transcript = New(TestModels.WithTokenizer, request with { Stop = request.Stop with { MinTokens = 4 } });
        Give(transcript, 0, 0, Bytes("axbcdxef"));
        Assert.Equal("axbcd", Text(transcript));
    }

    [Fact]
    public void HeldBackText_ComesWithTheFinishEvent()
    {
        SessionTranscript transcript = New(TestModels.WithTokenizer, TestModels.Request(5, 1, "END"));
        Give(transcript, 0, 0, Bytes("abcEN"));
        Assert.Equal(["a", "b", "c", "", "", "EN", ""], transcript.Events.Select(next => next.Text));
        Assert.Equal("length", transcript.Events[^2].FinishReason);
    }

    [Fact]
    public void SplitCharacter_IsReleasedWhole()
    {
        SessionTranscript transcript = New(TestModels.WithTokenizer, TestModels.Request(3));
        Give(transcript, 0, 0, Bytes("€"));
        Assert.Equal(["", "", "€", "", ""], transcript.Events.Select(next => next.Text));
    }

    [Fact]
    public void EndOfSequence_IsATokenWithoutText()
    {
        SessionTranscript transcript = New(TestModels.WithTokenizer, TestModels.Request(9));
        Give(transcript, 0, 0, [.. Bytes("ab"), TestModels.ByteEos]);
        Assert.Equal(["0:97", "0:98", "0:256", "0 stop", "usage 3+3"], Spell(transcript));
        Assert.Equal(("ab", null), (Text(transcript), transcript.Events[3].StopToken));
    }

    [Fact]
    public void StopToken_IsReportedAndHasNoText()
    {
        GenerationRequest request = TestModels.Request(9);
        SessionTranscript transcript = New(TestModels.WithTokenizer, request with { Stop = request.Stop with { TokenIds = ['b'] } });
        Give(transcript, 0, 0, Bytes("ab"));
        Assert.Equal(("a", 'b', "stop"), (Text(transcript), transcript.Events[2].StopToken, transcript.Events[2].FinishReason));
    }

    [Fact]
    public void IgnoredEndOfSequence_GoesOn()
    {
        GenerationRequest request = TestModels.Request(3);
        SessionTranscript transcript = New(TestModels.WithoutTokenizer, request with { Stop = request.Stop with { IgnoreEos = true } });
        Give(transcript, 0, 0, TestModels.Eos, 11, 12);
        Assert.Equal(["0:2", "0:11", "0:12", "0 length", "usage 3+3"], Spell(transcript));
    }

    [Fact]
    public void Logprobs_AreSpelledAsTokenIdsWithoutATokenizer()
    {
        SessionTranscript transcript = New(TestModels.WithoutTokenizer, TestModels.Request(1) with { Logprobs = 1 });
        transcript.Apply(new SequenceProgress { Choice = 0, FirstIndex = 0, Tokens = [new GeneratedToken(10, -0.5f, [new ScoredToken(11, -0.25f, [])])] });
        TokenLogprob logprob = transcript.Events[0].Logprob!;
        Assert.Equal(("token_id:10", -0.5f), (logprob.Token.Text, logprob.Token.Logprob));
        Assert.Equal("token_id:10", Encoding.UTF8.GetString(logprob.Token.Bytes.AsSpan()));
        Assert.Equal((11, "token_id:11", -0.25f), (logprob.Top[0].TokenId, logprob.Top[0].Text, logprob.Top[0].Logprob));
    }

    [Fact]
    public void Logprobs_AreSpelledAsTextWithATokenizer()
    {
        SessionTranscript transcript = New(TestModels.WithTokenizer, TestModels.Request(1) with { Logprobs = 0 });
        transcript.Apply(new SequenceProgress { Choice = 0, FirstIndex = 0, Tokens = [new GeneratedToken('q', -1, [])] });
        Assert.Equal(("q", (byte)'q'), (transcript.Events[0].Logprob!.Token.Text, transcript.Events[0].Logprob!.Token.Bytes[0]));
    }

    internal static string[] Spell(SessionTranscript transcript) => [.. transcript.Events.Select(Spell)];

    internal static string Spell(SessionEvent next) => next.Kind switch
    {
        SessionEventKind.Token => $"{next.Choice}:{next.TokenId}",
        SessionEventKind.Finish => $"{next.Choice} {next.FinishReason}",
        _ => $"usage {next.Usage!.PromptTokens}+{next.Usage.CompletionTokens}",
    };

    private static string Text(SessionTranscript transcript) => string.Concat(transcript.Events.Select(next => next.Text));

    private static int[] Bytes(string text) => [.. Encoding.UTF8.GetBytes(text).Select(value => (int)value)];

    private static SessionTranscript New(ServedModel model, GenerationRequest request, params int[][] prompts) =>
        new(new SessionRules(TestModels.Accept(model, request, prompts), model));

    private static int Give(SessionTranscript transcript, int choice, int from, params int[] tokens) => transcript.Apply(new SequenceProgress
    {
        Choice = choice,
        FirstIndex = from,
        Tokens = [.. tokens.Select(token => new GeneratedToken(token, float.NaN, []))],
    });
}
