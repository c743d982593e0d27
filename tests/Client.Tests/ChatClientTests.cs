using Cluster.Contracts;
using Microsoft.Extensions.AI;
using AiMessage = Microsoft.Extensions.AI.ChatMessage;

namespace Cluster.Client.Tests;

/// <summary>The <see cref="IChatClient"/> of Microsoft.Extensions.AI, over the fake edge.</summary>
public sealed class ChatClientTests : IAsyncLifetime
{
    private FakeEdge _edge = null!;
    private InferenceClient _client = null!;
    private IChatClient _chat = null!;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _edge = await FakeEdge.StartAsync();
        _client = await InferenceClient.ConnectAsync(new() { Url = _edge.Url, Transport = TransportKind.Http }, Token);
        _chat = _client.AsChatClient(FakeEdge.ModelName);
    }

    public async ValueTask DisposeAsync()
    {
        _chat.Dispose();
        await _client.DisposeAsync();
        await _edge.DisposeAsync();
    }

    [Fact]
    public async Task Response_HasTextUsageAndFinishReason()
    {
        ChatResponse response = await _chat.GetResponseAsync("hi", cancellationToken: Token);
        Assert.Equal("c0t0 c0t1 c0t2 c0t3 ", response.Text);
        Assert.Equal(ChatRole.Assistant, response.Messages.Single().Role);
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
        Assert.Equal((3L, 4L, 7L, 2L), (response.Usage!.InputTokenCount, response.Usage.OutputTokenCount, response.Usage.TotalTokenCount, response.Usage.CachedInputTokenCount));
        Assert.Equal(FakeEdge.ModelName, response.ModelId);
        Assert.StartsWith("chatcmpl-", response.ResponseId, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stream_AddsUpToTheResponse()
    {
        List<ChatResponseUpdate> updates = await _chat.GetStreamingResponseAsync("hi", cancellationToken: Token).ToListAsync(Token);
        Assert.Equal(6, updates.Count);
        ChatResponse response = updates.ToChatResponse();
        Assert.Equal("c0t0 c0t1 c0t2 c0t3 ", response.Text);
        Assert.Equal(ChatFinishReason.Length, response.FinishReason);
        Assert.Equal(4, response.Usage!.OutputTokenCount);
        Assert.Single(response.Messages);
        Assert.Single(updates.Select(update => update.ResponseId).Distinct());
    }

    [Theory]
    [InlineData(FaultKind.DoneWithoutFinish)]
    [InlineData(FaultKind.MissingDone)]
    [InlineData(FaultKind.Cut)]
    public async Task StreamWithoutFinish_IsAnError(FaultKind kind)
    {
        _edge.Plain = true;
        _edge.Faults.Enqueue(new Fault(kind, 2));
        await Assert.ThrowsAsync<StreamInterruptedException>(async () => await _chat.GetStreamingResponseAsync("hi", cancellationToken: Token).ToListAsync(Token));
    }

    [Fact]
    public async Task Options_TravelAsTheApiSpellsThem()
    {
        var options = new ChatOptions
        {
            Temperature = 0.5f, TopP = 0.9f, TopK = 40, MaxOutputTokens = 77, Seed = 5, StopSequences = ["END"], FrequencyPenalty = 0.25f, PresencePenalty = -0.5f, Instructions = "Be brief.",
            AdditionalProperties = new() { ["min_p"] = 0.125, ["repetition_penalty"] = 1.5f, ["ignore_eos"] = true, ["min_tokens"] = 3, ["stop_token_ids"] = new[] { 9 }, ["priority"] = 2, ["chat_template_kwargs"] = new Dictionary<string, object> { ["enable_thinking"] = false } },
        };
        await _chat.GetResponseAsync([new(ChatRole.User, "hi"), new(ChatRole.Assistant, "ho"), new(ChatRole.User, "go")], options, Token);
        System.Text.Json.Nodes.JsonNode body = _edge.Seen.Single(seen => seen.Method == "POST").Body!;
        Assert.Equal("""[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"},{"role":"assistant","content":"ho"},{"role":"user","content":"go"}]""", body["messages"]!.ToJsonString());
        foreach ((string name, string value) in new[] { ("temperature", "0.5"), ("top_p", "0.9"), ("top_k", "40"), ("max_completion_tokens", "77"), ("seed", "5"), ("stop", "[\"END\"]"), ("frequency_penalty", "0.25"), ("presence_penalty", "-0.5"),
            ("min_p", "0.125"), ("repetition_penalty", "1.5"), ("ignore_eos", "true"), ("min_tokens", "3"), ("stop_token_ids", "[9]"), ("priority", "2"), ("chat_template_kwargs", "{\"enable_thinking\":false}"), ("stream", "true") })
            Assert.Equal((name, value), (name, body[name]?.ToJsonString()));
    }

    [Fact]
    public async Task ToolMessages_KeepTheirShape()
    {
        AiMessage call = new(ChatRole.Assistant, [new FunctionCallContent("call-1", "weather", new Dictionary<string, object?> { ["city"] = "Rome" })]);
        AiMessage result = new(ChatRole.Tool, [new FunctionResultContent("call-1", "sunny")]);
        await _chat.GetResponseAsync([new(ChatRole.User, "hi"), call, result], cancellationToken: Token);
        System.Text.Json.Nodes.JsonNode messages = _edge.Seen.Single(seen => seen.Method == "POST").Body!["messages"]!;
        Assert.Equal("weather", (string?)messages[1]!["tool_calls"]![0]!["function"]!["name"]);
        Assert.Equal("""{"role":"tool","tool_call_id":"call-1","content":"sunny"}""", messages[2]!.ToJsonString());
    }

    [Fact]
    public async Task WhatCannotBeSaid_IsRefused()
    {
        AiMessage image = new(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")]);
        await Assert.ThrowsAsync<RequestRejectedException>(() => _chat.GetResponseAsync(image, cancellationToken: Token));
        await Assert.ThrowsAsync<RequestRejectedException>(() => _chat.GetResponseAsync("hi", new ChatOptions { ResponseFormat = ChatResponseFormat.Json }, Token));
        await Assert.ThrowsAsync<RequestRejectedException>(() => _chat.GetResponseAsync("hi", new ChatOptions { AdditionalProperties = new() { ["min_p"] = "much" } }, Token));
        Assert.DoesNotContain(_edge.Seen, seen => seen.Method == "POST");
    }

    [Fact]
    public void Services_AreFound()
    {
        Assert.Same(_chat, _chat.GetService(typeof(IChatClient)));
        Assert.Same(_client, _chat.GetService<InferenceClient>());
        Assert.Equal(FakeEdge.ModelName, _chat.GetService<ChatClientMetadata>()!.DefaultModelId);
        Assert.Null(_chat.GetService(typeof(IChatClient), "key"));
    }

    [Fact]
    public async Task Cancellation_ReachesTheSession()
    {
        _edge.HoldAfter = 2;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Token);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (ChatResponseUpdate _ in _chat.GetStreamingResponseAsync("hi", cancellationToken: stop.Token))
                await stop.CancelAsync();
        });
        Assert.Single(_edge.Seen, seen => seen.Method == "DELETE");
    }
}
