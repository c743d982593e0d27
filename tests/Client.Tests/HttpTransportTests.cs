using Cluster.Contracts;

namespace Cluster.Client.Tests;

/// <summary>The SDK over HTTP against a fake edge that fails in every way known.</summary>
public sealed class HttpTransportTests : IAsyncLifetime
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    private FakeEdge _edge = null!;
    private InferenceClient _client = null!;

    public async ValueTask InitializeAsync()
    {
        _edge = await FakeEdge.StartAsync();
        _client = await InferenceClient.ConnectAsync(Options(), Token);
    }

    public async ValueTask DisposeAsync()
    {
        await _client.DisposeAsync();
        await _edge.DisposeAsync();
    }

    private InferenceClientOptions Options() => new() { Url = _edge.Url, Transport = TransportKind.Http, ReconnectTimeout = TimeSpan.FromSeconds(5) };

    private static GenerationRequest Request(int choices = 1) => new() { Model = FakeEdge.ModelName, Prompts = [Prompt.FromText("hello")], Choices = choices };

    [Fact]
    public async Task Generate_GivesTextTokensFinishAndUsage()
    {
        GenerationResult result = await _client.GenerateAsync(Request(choices: 2), Token);
        Assert.Equal(2, result.Choices.Length);
        Assert.Equal("c0t0 c0t1 c0t2 c0t3 ", result.Text);
        Assert.Equal("c1t0 c1t1 c1t2 c1t3 ", result.Choices[1].Text);
        Assert.Equal([150, 151, 152, 153], result.Choices[1].TokenIds);
        Assert.All(result.Choices, choice => Assert.Equal("length", choice.FinishReason));
        Assert.Equal(new TokenUsage(3, 8, 2), result.Usage);
        Assert.Equal([1, 2, 3], result.Prompts.Single().TokenIds);
        Assert.Equal(1_700_000_123, result.Created.ToUnixTimeSeconds());
        Assert.StartsWith("cmpl-", result.SessionId, StringComparison.Ordinal);
    }

    [Theory]
    [CombinatorialFaults]
    public async Task Stream_GivesEveryEventOnce_WhateverHappensAfterAnyEvent(FaultKind kind, int afterEvents)
    {
        List<SessionEvent> undisturbed = await _client.StreamAsync(Request(choices: 2), Token).ToListAsync(Token);
        _edge.Faults.Enqueue(new Fault(kind, afterEvents));
        List<SessionEvent> disturbed = await _client.StreamAsync(Request(choices: 2), Token).ToListAsync(Token);
        Assert.Equal(undisturbed.Select(Essence), disturbed.Select(Essence));
        Assert.Equal(Enumerable.Range(0, 11), disturbed.Select(item => (int)item.SequenceNumber));
        Assert.Empty(_edge.Faults);
    }

    [Fact]
    public async Task Stream_GoesOnAfterManyLosses_AsLongAsThereIsProgress()
    {
        for (int i = 0; i < 10; i++)
            _edge.Faults.Enqueue(new Fault(FaultKind.ErrorEvent, 1));
        List<SessionEvent> events = await _client.StreamAsync(Request(choices: 2), Token).ToListAsync(Token);
        Assert.Equal(Enumerable.Range(0, 11), events.Select(item => (int)item.SequenceNumber));
    }

    [Fact]
    public async Task RepeatedEvents_AreDropped()
    {
        _edge.Faults.Enqueue(new Fault(FaultKind.Cut, 3));
        _edge.Faults.Enqueue(new Fault(FaultKind.Repeat));
        List<SessionEvent> events = await _client.StreamAsync(Request(choices: 2), Token).ToListAsync(Token);
        Assert.Equal(Enumerable.Range(0, 11), events.Select(item => (int)item.SequenceNumber));
    }

    [Fact]
    public async Task LossBeforeTheFirstEvent_PostsAgainUnderTheSameName()
    {
        _edge.Faults.Enqueue(new Fault(FaultKind.Cut, 0));
        await _client.GenerateAsync(Request(), Token);
        SeenRequest[] posts = [.. _edge.Seen.Where(seen => seen.Method == "POST")];
        Assert.Equal(2, posts.Length);
        Assert.Equal(posts[0].RequestId, posts[1].RequestId);
        Assert.Matches("^cmpl-[0-9a-f]{32}$", posts[0].RequestId);
    }

    [Fact]
    public async Task Overload_IsThrownAtOnce_WithItsRetryAfter()
    {
        _edge.Faults.Enqueue(new Fault(FaultKind.Overloaded));
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(() => _client.GenerateAsync(Request(), Token));
        Assert.Equal(RejectionReason.Overloaded, refused.Reason);
        Assert.Equal(7, refused.RetryAfterSeconds);
        Assert.Single(_edge.Seen, seen => seen.Method == "POST");
    }

    [Fact]
    public async Task FailureThatLasts_EndsWithTheSessionsIdAndLastNumber()
    {
        _edge.Faults.Enqueue(new Fault(FaultKind.Cut, 3));
        _edge.EveryFault = new Fault(FaultKind.ErrorEvent, 0);
        var seen = new List<long>();
        var interrupted = await Assert.ThrowsAsync<StreamInterruptedException>(async () =>
        {
            await foreach (SessionEvent sessionEvent in _client.StreamAsync(Request(), Token))
                seen.Add(sessionEvent.SequenceNumber);
        });
        Assert.Equal([0, 1, 2], seen);
        Assert.Equal(2, interrupted.LastSequenceNumber);
        Assert.Contains("The replica failed.", interrupted.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(_edge.Seen, request => request.Method == "DELETE");

        _edge.EveryFault = null;
        List<SessionEvent> rest = await _client.ResumeAsync(interrupted.SessionId, interrupted.LastSequenceNumber, Token).ToListAsync(Token);
        Assert.Equal([3, 4, 5], rest.Select(item => item.SequenceNumber));
    }

    [Fact]
    public async Task SilentServer_EndsAfterTheReconnectTimeout()
    {
        await using InferenceClient impatient = await InferenceClient.ConnectAsync(Options() with { ReconnectTimeout = TimeSpan.FromMilliseconds(300) }, Token);
        _edge.EveryFault = new Fault(FaultKind.Cut, 0);
        _edge.Faults.Enqueue(new Fault(FaultKind.Cut, 2));
        var interrupted = await Assert.ThrowsAsync<StreamInterruptedException>(async () => await impatient.StreamAsync(Request(), Token).ToListAsync(Token));
        Assert.Equal(1, interrupted.LastSequenceNumber);
    }

    [Fact]
    public async Task OtherServers_WorkWithoutNumbersAndIds_ButCannotBeResumed()
    {
        _edge.Plain = true;
        GenerationResult result = await _client.GenerateAsync(Request(choices: 2), Token);
        Assert.Equal("c1t0 c1t1 c1t2 c1t3 ", result.Choices[1].Text);
        Assert.Equal([-1, -1, -1, -1], result.Choices[1].TokenIds);
        Assert.Equal(8, result.Usage.CompletionTokens);

        _edge.Faults.Enqueue(new Fault(FaultKind.MissingDone, 3));
        var interrupted = await Assert.ThrowsAsync<StreamInterruptedException>(() => _client.GenerateAsync(Request(), Token));
        Assert.Contains("before [DONE]", interrupted.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LeavingEarly_CancelsTheSession_AHandleDoesNot()
    {
        _edge.HoldAfter = 2;
        await foreach (SessionEvent sessionEvent in _client.StreamAsync(Request(), Token))
        {
            if (sessionEvent.SequenceNumber == 1)
                break;
        }
        Assert.Single(_edge.Seen, seen => seen.Method == "DELETE");

        await using InferenceSession session = await _client.StartAsync(Request(), Token);
        await foreach (SessionEvent sessionEvent in session.StreamAsync(-1, Token))
        {
            if (sessionEvent.SequenceNumber == 1)
                break;
        }
        Assert.Single(_edge.Seen, seen => seen.Method == "DELETE");
        _edge.HoldAfter = -1;
        Assert.Equal([2, 3, 4, 5], (await _client.ResumeAsync(session.Id, 1, Token).ToListAsync(Token)).Select(item => item.SequenceNumber));
        Assert.True(await _client.CancelAsync(session.Id, Token));
        Assert.False(await _client.CancelAsync(session.Id, Token));
        await Assert.ThrowsAsync<RequestRejectedException>(async () => await _client.ResumeAsync(session.Id, 1, Token).ToListAsync(Token));
    }

    [Fact]
    public async Task CancelledGenerate_FreesTheSession()
    {
        _edge.HoldAfter = 1;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        Task<GenerationResult> generating = _client.GenerateAsync(Request(), stop.Token);
        while (!_edge.Seen.Any(seen => seen.Method == "POST"))
            await Task.Yield();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => generating);
    }

    [Fact]
    public async Task UnknownModel_IsTyped_AndTheOnlyModelNeedsNoName()
    {
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(() => _client.GenerateAsync(Request() with { Model = "other" }, Token));
        Assert.Equal(RejectionReason.ModelNotFound, refused.Reason);
        Assert.Equal(FakeEdge.ModelName, (await _client.GenerateAsync(Request() with { Model = "" }, Token)).Model);
    }

    [Fact]
    public async Task WrongKey_Is401_AndTheRightOneTravels()
    {
        _edge.ApiKey = "secret";
        var refused = await Assert.ThrowsAsync<HttpRequestException>(() => _client.GenerateAsync(Request(), Token));
        Assert.Equal(System.Net.HttpStatusCode.Unauthorized, refused.StatusCode);
        await using InferenceClient keyed = await InferenceClient.ConnectAsync(Options() with { ApiKey = "secret" }, Token);
        Assert.Equal(4, (await keyed.GenerateAsync(Request(), Token)).Usage.CompletionTokens);
    }

    [Fact]
    public async Task Echo_PutsThePromptBeforeTheText()
    {
        PresentationOptions echo = new() { Echo = true };
        Assert.StartsWith("helloc0t0 ", (await _client.GenerateAsync(Request() with { Presentation = echo }, Token)).Text, StringComparison.Ordinal);
        GenerationResult ids = await _client.GenerateAsync(Request() with { Prompts = [Prompt.FromTokens(1, 2, 3)], Presentation = echo }, Token);
        Assert.StartsWith("prompt text c0t0 ", ids.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(RequestKind.Completion)]
    [InlineData(RequestKind.Chat)]
    public async Task Logprobs_AreReadInBothSpellings(RequestKind kind)
    {
        GenerationRequest request = Request() with { Kind = kind, Logprobs = 1, Messages = [new ChatMessage { Role = "user", Content = "hi" }] };
        GenerationChoice choice = (await _client.GenerateAsync(request, Token)).Choices[0];
        Assert.Equal(4, choice.Logprobs.Length);
        Assert.Equal((102, "c0t2 ", -0.5f), (choice.Logprobs[2].Token.TokenId, choice.Logprobs[2].Token.Text, choice.Logprobs[2].Token.Logprob));
        Assert.Equal((7, -1.5f), (choice.Logprobs[2].Top[0].TokenId, choice.Logprobs[2].Top[0].Logprob));
    }

    [Fact]
    public async Task Topology_IsReadFromTheAdminRoute()
    {
        ClusterTopology topology = await _client.GetTopologyAsync(Token);
        Assert.Equal("silo-a", topology.Silos.Single().Name);
        Assert.Equal(0.25, topology.Replicas.Single().Load.KvUsage);
        Assert.Equal((7L, "cpu:0"), (topology.Replicas[0].Epoch, topology.Replicas[0].Shards[0].Device));
        Assert.Equal(new ModelListing("fake", 512, DateTimeOffset.FromUnixTimeSeconds(1_700_000_000)), (await _client.ListModelsAsync(Token)).Single());
    }

    [Fact]
    public async Task Auto_StaysWithHttp_WhereNoGatewayIsNamedOrReachable()
    {
        await using InferenceClient none = await InferenceClient.ConnectAsync(Options() with { Transport = TransportKind.Auto }, Token);
        Assert.Equal(TransportKind.Http, none.Transport);
        _edge.Gateways = """{"cluster_id":"cluster","service_id":"cluster","gateways":["127.0.0.1:1"],"response_timeout_seconds":10}""";
        await using InferenceClient unreachable = await InferenceClient.ConnectAsync(Options() with { Transport = TransportKind.Auto, ConnectTimeout = TimeSpan.FromSeconds(2) }, Token);
        Assert.Equal(TransportKind.Http, unreachable.Transport);
        Assert.Equal(4, (await unreachable.GenerateAsync(Request(), Token)).Usage.CompletionTokens);
    }

    [Fact]
    public async Task Connect_FailsAtOnce_WhereNothingListens() =>
        await Assert.ThrowsAsync<HttpRequestException>(() => InferenceClient.ConnectAsync(new() { Url = "http://127.0.0.1:1" }, Token));

    [Fact]
    public async Task Options_WithTwoAddresses_AreRefused() =>
        await Assert.ThrowsAsync<ArgumentException>(() => InferenceClient.ConnectAsync(new() { Url = _edge.Url, Redis = "localhost" }, Token));

    private static (long, SessionEventKind, int, int, string, string?) Essence(SessionEvent item) =>
        (item.SequenceNumber, item.Kind, item.Choice, item.TokenId, item.Text, item.FinishReason);
}

/// <summary>Every fault after every event of a stream of eleven.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class CombinatorialFaultsAttribute : Xunit.v3.DataAttribute
{
    public override ValueTask<IReadOnlyCollection<ITheoryDataRow>> GetData(System.Reflection.MethodInfo testMethod, Xunit.Sdk.DisposalTracker disposalTracker)
    {
        FaultKind[] kinds = [FaultKind.Cut, FaultKind.ErrorEvent, FaultKind.MissingDone, FaultKind.Gap];
        List<ITheoryDataRow> rows = [];
        foreach (FaultKind kind in kinds)
        {
            // A gap at the very end has nothing after it: it looks like the end it is.
            for (int after = 0; after < (kind == FaultKind.Gap ? 10 : 11); after++)
                rows.Add(new TheoryDataRow(kind, after));
        }
        // A clean end is only seen as one too early while choices are open.
        for (int after = 0; after < 8; after++)
            rows.Add(new TheoryDataRow(FaultKind.DoneWithoutFinish, after));
        return ValueTask.FromResult<IReadOnlyCollection<ITheoryDataRow>>(rows);
    }

    public override bool SupportsDiscoveryEnumeration() => true;
}
