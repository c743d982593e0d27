using Cluster.Contracts;
using Cluster.Grains.Sessions;

namespace Cluster.Grains.Tests.Sessions;

/// <summary>Acceptance, ownership, cancelling, refusals.</summary>
public sealed class SessionGrainTests(SessionCluster cluster) : IClassFixture<SessionCluster>
{
    private static readonly GenerationRequest Request = TestModels.Request(maxTokens: 12, choices: 2) with
    {
        Sampling = new SamplingOptions { Seed = 11 },
    };

    [Fact]
    public async Task Start_FillsInTheModelsDefaultsAndDrawsASeed()
    {
        string id = SessionCluster.NewId();
        GenerationRequest request = TestModels.Request() with { Sampling = new SamplingOptions { TopP = 0.5f } };
        SessionDescription description = await cluster.Session(id).Start(request, CancellationToken.None);
        await cluster.ReadAsync(id);
        SamplingOptions used = cluster.Script(id).Groups.Single().Sampling;
        Assert.Equal((0.7f, 20, 0.5f, 0f, 1.1f), (used.Temperature, used.TopK, used.TopP, used.MinP, used.RepetitionPenalty));
        Assert.Equal(description.Seed, used.Seed);
        Assert.Equal(16, cluster.Script(id).Groups.Single().Sequences.Single().MaxTokens);
        Assert.Equal(("fingerprint-of-tokens-only", SessionStatus.Paused), (description.ModelFingerprint, description.Status));
    }

    [Fact]
    public async Task Start_IsDurableBeforeItReturns()
    {
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request, CancellationToken.None);
        Assert.True(cluster.Storage.Has("session-accepted", id));
    }

    [Fact]
    public async Task Start_AgainGivesTheSameAnswer()
    {
        string id = SessionCluster.NewId();
        GenerationRequest drawn = Request with { Sampling = new SamplingOptions() };
        SessionDescription[] both = await Task.WhenAll(
            cluster.Session(id).Start(drawn, CancellationToken.None), cluster.Session(id).Start(drawn, CancellationToken.None));
        await cluster.DeactivateAsync(id);
        SessionDescription third = await cluster.Session(id).Start(drawn, CancellationToken.None);
        Assert.Equal((both[0].Seed, both[0].Created), (both[1].Seed, both[1].Created));
        Assert.Equal((both[0].Seed, both[0].Created), (third.Seed, third.Created));
    }

    [Fact]
    public async Task Start_RefusesAnotherRequestUnderTheSameId()
    {
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request, CancellationToken.None);
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(
            () => cluster.Session(id).Start(Request with { Priority = 1 }, CancellationToken.None));
        Assert.Equal(RejectionReason.InvalidRequest, refused.Reason);
        Assert.Contains(id, refused.Message);
    }

    [Fact]
    public async Task Start_RefusesBadRequestsWithTheirReason()
    {
        RequestRejectedException unknown = await Refused(Request with { Model = "nobody" });
        Assert.Equal((RejectionReason.ModelNotFound, "model"), (unknown.Reason, unknown.Parameter));
        Assert.Contains("bytes, chat, tokens-only", unknown.Message);
        RequestRejectedException hot = await Refused(Request with { Sampling = new SamplingOptions { Temperature = float.NaN } });
        Assert.Equal((RejectionReason.InvalidRequest, "temperature"), (hot.Reason, hot.Parameter));
        RequestRejectedException longer = await Refused(Request with { Prompts = [new Prompt { TokenIds = [.. Enumerable.Repeat(5, 65)] }] });
        Assert.Equal((RejectionReason.ContextLengthExceeded, "prompt"), (longer.Reason, longer.Parameter));
    }

    [Fact]
    public async Task OtherOwner_DoesNotFindTheSession()
    {
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request with { Owner = "me" }, CancellationToken.None);
        RequestRejectedException attach = await Assert.ThrowsAsync<RequestRejectedException>(() => cluster.ReadAsync(id, owner: "you"));
        RequestRejectedException describe = await Assert.ThrowsAsync<RequestRejectedException>(() => cluster.Session(id).Describe("you", CancellationToken.None));
        Assert.Equal((RejectionReason.SessionNotFound, RejectionReason.SessionNotFound), (attach.Reason, describe.Reason));
        Assert.False(await cluster.Session(id).Cancel("you", CancellationToken.None));
        Assert.NotEmpty(await cluster.ReadAsync(id, owner: "me"));
    }

    [Fact]
    public async Task UnknownSession_IsNotFound()
    {
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(() => cluster.ReadAsync(SessionCluster.NewId()));
        Assert.Equal(RejectionReason.SessionNotFound, refused.Reason);
        Assert.False(await cluster.Session(SessionCluster.NewId()).Cancel("", CancellationToken.None));
    }

    [Fact]
    public async Task NegativeCursor_IsRefused()
    {
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request, CancellationToken.None);
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(() => cluster.ReadAsync(id, from: -3));
        Assert.Equal((RejectionReason.InvalidRequest, "starting_after"), (refused.Reason, refused.Parameter));
    }

    [Fact]
    public async Task Cancel_EndsReadersFreesSequencesAndForgets()
    {
        string id = SessionCluster.NewId();
        var reached = new TaskCompletionSource();
        cluster.Script(id).BeforeRound = (round, cancellation) =>
        {
            if (round < 2)
                return Task.CompletedTask;
            reached.TrySetResult();
            return Task.Delay(Timeout.InfiniteTimeSpan, cancellation);
        };
        await cluster.Session(id).Start(Request, CancellationToken.None);
        Task<List<SessionEvent>> reader = cluster.ReadAsync(id);
        await reached.Task;
        Assert.True(await cluster.Session(id).Cancel("", CancellationToken.None));
        RequestRejectedException ended = await Assert.ThrowsAsync<RequestRejectedException>(() => reader);
        Assert.Equal(RejectionReason.SessionCancelled, ended.Reason);
        Assert.Equal(0, cluster.Script(id).Live);
        Assert.False(cluster.Storage.Has("session-accepted", id));
        Assert.False(cluster.Storage.Has("session-progress", id));
        RequestRejectedException later = await Assert.ThrowsAsync<RequestRejectedException>(() => cluster.ReadAsync(id));
        Assert.True(later.Reason is RejectionReason.SessionCancelled or RejectionReason.SessionNotFound);
        Assert.False(await cluster.Session(id).Cancel("", CancellationToken.None));
    }

    [Fact]
    public async Task CancelledId_ServesAgain()
    {
        string id = SessionCluster.NewId();
        List<SessionEvent> first = await cluster.RunAsync(id, Request);
        await cluster.Session(id).Cancel("", CancellationToken.None);
        List<SessionEvent> second = await cluster.RunAsync(id, Request);
        Assert.Equal(first.Select(SessionCluster.Spell), second.Select(SessionCluster.Spell));
    }

    [Fact]
    public async Task FullQueue_IsRefusedByTheFirstEventAndForgotten()
    {
        string id = SessionCluster.NewId();
        cluster.Script(id).Refuse(calls: 1);
        await cluster.Session(id).Start(Request, CancellationToken.None);
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(() => cluster.ReadAsync(id));
        Assert.Equal(RejectionReason.Overloaded, refused.Reason);
        Assert.True(refused.RetryAfterSeconds > 0);
        Assert.Contains("4 sequences", refused.Message);
        await cluster.Storage.WaitAsync(storage => !storage.Has("session-accepted", id));
        Assert.NotEmpty(await cluster.RunAsync(id, Request));
    }

    [Fact]
    public async Task FullQueueAtAResume_IsWaitedFor()
    {
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request, CancellationToken.None);
        Task left = cluster.Script(id).Left;
        cluster.Script(id).BeforeRound = (round, cancellation) => round < 1 ? Task.CompletedTask : Task.Delay(Timeout.InfiniteTimeSpan, cancellation);
        List<SessionEvent> seen = await cluster.ReadAsync(id, most: 1);
        await left.WaitAsync(TimeSpan.FromSeconds(30));
        cluster.Script(id).BeforeRound = null;
        cluster.Script(id).Refuse(calls: 2);
        seen.AddRange(await cluster.ReadAsync(id, from: 1));
        Assert.Equal(SessionEventKind.Usage, seen[^1].Kind);
        Assert.Equal(4, cluster.Script(id).Groups.Count);
    }

    [Fact]
    public async Task PromptLogprobs_AreDescribed()
    {
        string id = SessionCluster.NewId();
        GenerationRequest request = Request with { Prompts = [Prompt.FromTokens(5, 6, 7), Prompt.FromTokens(8, 9)], PromptLogprobs = 1, Logprobs = 1 };
        await cluster.RunAsync(id, request);
        await cluster.DeactivateAsync(id);
        SessionDescription description = await cluster.Session(id).Describe("", CancellationToken.None);
        Assert.Equal([5, 6, 7], description.Prompts[0].Logprobs.Select(logprob => logprob.Token.TokenId));
        Assert.Equal([float.NaN, -9f], description.Prompts[1].Logprobs.Select(logprob => logprob.Token.Logprob));
        Assert.Equal(2, cluster.Script(id).Groups.Single().Sequences.Count(sequence => sequence.ReportPromptLogprobs));
    }

    [Fact]
    public async Task Chat_GoesThroughTheTemplateAndGetsTheRestOfTheContext()
    {
        string id = SessionCluster.NewId();
        SessionDescription description = await cluster.Session(id).Start(Chat(("user", "hi")), CancellationToken.None);
        int[] expected = [.. "user:hi".Select(letter => (int)letter), 257, 'a', ':'];
        Assert.Equal(expected, description.Prompts.Single().TokenIds);
        List<SessionEvent> events = await cluster.ReadAsync(id);
        Assert.Equal(TestModels.Context - expected.Length, events[^1].Usage!.CompletionTokens);
        Assert.StartsWith("Grüße, the quick brown fox", string.Concat(events.Select(next => next.Text)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Chat_ThatTheTemplateRefuses_IsRefusedWithItsWords()
    {
        RequestRejectedException refused = await Refused(Chat(("nobody", "hi")));
        Assert.Equal((RejectionReason.InvalidRequest, "messages"), (refused.Reason, refused.Parameter));
        Assert.Contains("who is nobody?", refused.Message);
    }

    [Fact]
    public async Task Usage_CountsCachedTokensOncePerPrompt()
    {
        List<SessionEvent> events = await cluster.RunAsync(SessionCluster.NewId(), Request with { Prompts = [Prompt.FromTokens(5, 6, 7), Prompt.FromTokens(8, 9)] });
        Assert.Equal((5, 2), (events[^1].Usage!.PromptTokens, events[^1].Usage!.CachedTokens));
    }

    private static GenerationRequest Chat(params (string Role, string Content)[] messages) => new()
    {
        Model = TestModels.Chat,
        Kind = RequestKind.Chat,
        Messages = [.. messages.Select(message => new ChatMessage { Role = message.Role, Content = message.Content })],
        Sampling = new SamplingOptions { Seed = 0 },
    };

    private async Task<RequestRejectedException> Refused(GenerationRequest request)
    {
        string id = SessionCluster.NewId();
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(
            () => cluster.Session(id).Start(request, CancellationToken.None));
        Assert.False(cluster.Storage.Has("session-accepted", id));
        return refused;
    }
}
