using System.Collections.Immutable;
using System.Net;
using System.Text.Json.Nodes;
using Cluster.Contracts;
using Cluster.TestKit.Processes;

namespace Cluster.Silo.Tests.Gateway;

/// <summary>Server-sent events: framing, order, extras, resume, and how streams end.</summary>
public sealed class StreamTests
{
    private const string Completion = """{"model":"m","prompt":"hi","stream":true}""";

    [Fact]
    public async Task ACompletionStreamHasOneEventPerTokenThenFinishThenDone()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        using HttpResponseMessage response = await gateway.PostAsync("/v1/completions", Completion);
        string body = await response.Content.ReadAsStringAsync();
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        Assert.EndsWith("\n\ndata: [DONE]\n\n", body, StringComparison.Ordinal);
        string[] lines = body.Split("\n\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.All(lines, line => Assert.StartsWith("data: ", line, StringComparison.Ordinal));
        Assert.Equal(5, lines.Length);
        JsonNode[] chunks = [.. lines[..^1].Select(line => JsonNode.Parse(line[6..])!)];
        Assert.Equal([0L, 1, 2, 3], chunks.Select(chunk => (long)chunk["sequence_number"]!));
        Assert.Equal("Hello \"wörld\"\n", string.Concat(chunks.Select(chunk => (string)chunk["choices"]![0]!["text"]!)));
        Assert.Equal([null, null, null, "length"], chunks.Select(chunk => (string?)chunk["choices"]![0]!["finish_reason"]));
        Assert.Single(chunks.Select(chunk => (string)chunk["id"]!).Distinct());
        Assert.Matches("^cmpl-[0-9a-f]{32}$", (string)chunks[0]["id"]!);
        Assert.All(chunks, chunk => Assert.Equal(("text_completion", 1_700_000_000L, "m"), ((string)chunk["object"]!, (long)chunk["created"]!, (string)chunk["model"]!)));
        Assert.All(chunks, chunk => Assert.False(chunk.AsObject().ContainsKey("usage")));
        Assert.All(chunks, chunk => Assert.False(chunk["choices"]![0]!.AsObject().ContainsKey("token_ids")));
    }

    [Fact]
    public async Task AStreamThatWaitsForItsFirstEventSaysThatItIsAlive()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync(pingInterval: 0.01);
        var release = new TaskCompletionSource();
        gateway.Sessions.Before = (_, cancellation) => release.Task.WaitAsync(cancellation);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = new StringContent(Completion, System.Text.Encoding.UTF8, "application/json") };
        using HttpResponseMessage response = await gateway.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        for (int ping = 0; ping < 3; ping++)
        {
            Assert.Equal(": ping", await reader.ReadLineAsync());
            Assert.Equal("", await reader.ReadLineAsync());
        }
        release.SetResult();
        string[] lines = [.. (await reader.ReadToEndAsync()).Split("\n\n", StringSplitOptions.RemoveEmptyEntries).SkipWhile(line => line == ": ping")];
        Assert.Equal(5, lines.Length);
        Assert.All(lines, line => Assert.StartsWith("data: ", line, StringComparison.Ordinal));
        Assert.Equal("data: [DONE]", lines[^1]);
    }

    [Fact]
    public async Task AStreamThatFailsAfterPingsEndsWithAnErrorEventAndACut()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync(pingInterval: 0.01);
        var release = new TaskCompletionSource();
        gateway.Sessions.Before = (_, cancellation) => release.Task.WaitAsync(cancellation);
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = new StringContent(Completion, System.Text.Encoding.UTF8, "application/json") };
        using HttpResponseMessage response = await gateway.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.Equal(": ping", await reader.ReadLineAsync());
        release.SetException(new RequestRejectedException(RejectionReason.Overloaded, "All queues are full.", retryAfterSeconds: 1));
        string? line = "";
        while (line is not null && !line.StartsWith("data: ", StringComparison.Ordinal))
            line = await reader.ReadLineAsync();
        Assert.Contains("All queues are full.", line, StringComparison.Ordinal);
        await Assert.ThrowsAnyAsync<IOException>(async () => Assert.DoesNotContain("[DONE]", await reader.ReadToEndAsync(), StringComparison.Ordinal));
    }

    [Fact]
    public async Task ChatDeltasCarryTheRoleOncePerChoice()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events = Script.Tokens(2, choices: 2);
        JsonNode[] chunks = await Chunks(gateway, "/v1/chat/completions", """
            {"model":"m","messages":[{"role":"user","content":"x"}],"n":2,"stream":true,"return_token_ids":true}
            """);
        JsonNode[] deltas = [.. chunks.Select(chunk => chunk["choices"]![0]!["delta"]!)];
        Assert.Equal(["assistant", "assistant", null, null, null, null], deltas.Select(delta => (string?)delta["role"]));
        Assert.Equal(["Hello", "Hello", " \"wörld\"\n", " \"wörld\"\n", null, null], deltas.Select(delta => (string?)delta["content"]));
        Assert.Equal([0, 1, 0, 1, 0, 1], chunks.Select(chunk => (int)chunk["choices"]![0]!["index"]!));
        Assert.Equal(["[100]", "[100]", "[101]", "[101]", "[]", "[]"], chunks.Select(chunk => chunk["choices"]![0]!["token_ids"]!.ToJsonString()));
        Assert.Equal("[1,2,3,4]", chunks[0]["prompt_token_ids"]!.ToJsonString());
        Assert.All(chunks[1..], chunk => Assert.False(chunk.AsObject().ContainsKey("prompt_token_ids")));
        Assert.All(chunks, chunk => Assert.Equal("chat.completion.chunk", (string)chunk["object"]!));
        Assert.Matches("^chatcmpl-[0-9a-f]{32}$", (string)chunks[0]["id"]!);
    }

    [Fact]
    public async Task UsageComesLastAndEarlierChunksHaveNull()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        JsonNode[] chunks = await Chunks(gateway, "/v1/completions", """{"model":"m","prompt":"hi","stream":true,"stream_options":{"include_usage":true}}""");
        Assert.All(chunks[..^1], chunk =>
        {
            Assert.True(chunk.AsObject().ContainsKey("usage"));
            Assert.Null(chunk["usage"]);
        });
        Assert.Empty(chunks[^1]["choices"]!.AsArray());
        Assert.Equal(
            """{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1}}""",
            chunks[^1]["usage"]!.ToJsonString());
        Assert.Equal(4, (long)chunks[^1]["sequence_number"]!);
    }

    [Fact]
    public async Task ContinuousUsageGrowsWithTheTokens()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        JsonNode[] chunks = await Chunks(gateway, "/v1/completions", """
            {"model":"m","prompt":"hi","stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}
            """);
        Assert.Equal([1, 2, 3, 3, 3], chunks.Select(chunk => (int)chunk["usage"]!["completion_tokens"]!));
    }

    [Fact]
    public async Task EchoBringsThePromptAndItsLogprobsWithTheFirstChunkOfAChoice()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events = Script.Tokens(2, choices: 1, logprobs: true);
        gateway.Sessions.Describing = session => session with
        {
            Prompts = [session.Prompts[0] with { Logprobs = [Script.Logprob(1, "h", float.NaN), Script.Logprob(2, "🚀", -1f)] }],
        };
        JsonNode[] chunks = await Chunks(gateway, "/v1/completions", """
            {"model":"m","prompt":"h🚀","stream":true,"echo":true,"logprobs":1,"return_token_ids":true}
            """);
        JsonNode first = chunks[0]["choices"]![0]!;
        Assert.Equal("h🚀Hello", (string)first["text"]!);
        Assert.Equal("[1,2]", first["prompt_token_ids"]!.ToJsonString());
        Assert.Equal("[100]", first["token_ids"]!.ToJsonString());
        Assert.Equal("[0,1,2]", first["logprobs"]!["text_offset"]!.ToJsonString());
        Assert.Equal("[null,-1,-0.5]", first["logprobs"]!["token_logprobs"]!.ToJsonString());
        Assert.Null(first["logprobs"]!["top_logprobs"]![0]);
        Assert.Equal(["Hello!", "Hello"], first["logprobs"]!["top_logprobs"]![2]!.AsObject().Select(member => member.Key));
        Assert.Equal("[7]", chunks[1]["choices"]![0]!["logprobs"]!["text_offset"]!.ToJsonString());
    }

    [Fact]
    public async Task ChatLogprobsHaveBytesAndAlternatives()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events = Script.Tokens(1, choices: 1, logprobs: true);
        JsonNode[] chunks = await Chunks(gateway, "/v1/chat/completions", """
            {"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"logprobs":true,"top_logprobs":1}
            """);
        Assert.Equal(
            """{"content":[{"token":"Hello","logprob":-0.5,"bytes":[72,101,108,108,111],"top_logprobs":[{"token":"Hello!","logprob":-0.25,"bytes":[72,101,108,108,111,33]}]}],"refusal":null}""",
            chunks[0]["choices"]![0]!["logprobs"]!.ToJsonString());
        Assert.Null(chunks[1]["choices"]![0]!["logprobs"]);
    }

    [Theory]
    [InlineData("/v1/completions", """{"model":"m","prompt":"hi","stream":true,"n":2,"echo":true,"logprobs":1,"return_token_ids":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}""")]
    [InlineData("/v1/chat/completions", """{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"n":2,"logprobs":true,"return_token_ids":true}""")]
    public async Task AResumeRepeatsExactlyTheRest(string path, string body)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events = Script.Tokens(4, choices: 2, logprobs: true);
        gateway.Sessions.Describing = session => session with
        {
            Prompts = [session.Prompts[0] with { Logprobs = [Script.Logprob(1, "h", float.NaN), Script.Logprob(2, "i", -1f)] }],
        };
        List<string> whole = await ServerSentEvents.PostAsync(gateway.Http, path, JsonNode.Parse(body)!.AsObject()).ToListAsync();
        string id = (string)JsonNode.Parse(whole[0])!["id"]!;
        Assert.Equal(whole, await ServerSentEvents.ResumeAsync(gateway.Http, $"{path}/{id}", null).ToListAsync());
        for (int cut = -1; cut < whole.Count; cut++)
            Assert.Equal(whole.Skip(cut + 1).DefaultIfEmpty("[DONE]"), await ServerSentEvents.ResumeAsync(gateway.Http, $"{path}/{id}", cut).ToListAsync());
    }

    [Theory]
    [InlineData("starting_after=x")]
    [InlineData("starting_after=-2")]
    public async Task AWrongOffsetIsRefused(string query)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        using HttpResponseMessage response = await gateway.Http.GetAsync($"/v1/completions/abc?stream=true&{query}");
        Assert.Equal("starting_after", (string)(await GatewayFixture.ErrorOf(response, 400))["param"]!);
    }

    [Fact]
    public async Task AFailureMidStreamIsAnErrorEventAndACutConnection()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Before = (current, _) => current.SequenceNumber == 2
            ? throw new InvalidOperationException("secret detail")
            : Task.CompletedTask;
        using var message = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = new StringContent(Completion) };
        using HttpResponseMessage response = await gateway.Http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        var lines = new List<string>();
        await Assert.ThrowsAnyAsync<IOException>(async () =>
        {
            while (await reader.ReadLineAsync() is { } line)
                lines.Add(line);
        });
        string[] data = [.. lines.Where(line => line.Length > 0)];
        Assert.Equal(3, data.Length);
        JsonObject error = JsonNode.Parse(data[2][6..])!["error"]!.AsObject();
        Assert.Equal("server_error", (string)error["type"]!);
        Assert.DoesNotContain("secret", data[2], StringComparison.Ordinal);
        Assert.DoesNotContain(data, line => line.Contains("[DONE]", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AStreamThatLosesEventsFails()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events = [.. Script.Tokens(4).Where(e => e.SequenceNumber != 2)];
        await Assert.ThrowsAnyAsync<HttpRequestException>(async () => await (await gateway.PostAsync("/v1/completions", Completion)).Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task OverloadBeforeTheFirstEventIsA503()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Before = (_, _) => throw new RequestRejectedException(RejectionReason.Overloaded, "Queue holds 5 of at most 5.", retryAfterSeconds: 7);
        using HttpResponseMessage response = await gateway.PostAsync("/v1/completions", Completion);
        JsonObject error = await GatewayFixture.ErrorOf(response, 503);
        Assert.Equal("7", response.Headers.RetryAfter!.ToString());
        Assert.Equal("Queue holds 5 of at most 5.", (string)error["message"]!);
    }

    [Fact]
    public async Task ABrokenEnumerationIsAttachedAgainAfterTheLastEvent()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events = Script.Tokens(20);
        var broken = new HashSet<long>();
        gateway.Sessions.Before = (current, _) => current.SequenceNumber % 3 == 0 && broken.Add(current.SequenceNumber)
            ? throw (current.SequenceNumber % 2 == 0 ? (Exception)new TimeoutException("silo") : new Orleans.Runtime.SiloUnavailableException("silo"))
            : Task.CompletedTask;
        JsonNode[] chunks = await Chunks(gateway, "/v1/completions", Completion);
        Assert.Equal(Enumerable.Range(0, 21).Select(i => (long)i), chunks.Select(chunk => (long)chunk["sequence_number"]!));
        Assert.Equal(9, gateway.Sessions.Attached);
    }

    [Fact]
    public async Task AClientThatLeavesFreesItsReaderAtOnce()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        var reached = new TaskCompletionSource();
        var left = new TaskCompletionSource();
        gateway.Sessions.Before = async (current, cancellation) =>
        {
            if (current.SequenceNumber < 1)
                return;
            reached.TrySetResult();
            await using CancellationTokenRegistration registration = cancellation.Register(left.SetResult);
            await Task.Delay(Timeout.Infinite, cancellation);
        };
        using (var message = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = new StringContent(Completion) })
        using (HttpResponseMessage response = await gateway.Http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead))
            await reached.Task;
        await left.Task.WaitAsync(TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task AModelWithoutTokenizerSpellsTokensById()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events =
        [
            new SessionEvent
            {
                SequenceNumber = 0, Kind = SessionEventKind.Token, TokenId = 9,
                Logprob = new TokenLogprob(new TokenAlternative(9, "", [], float.NegativeInfinity), []),
            },
            new SessionEvent { SequenceNumber = 1, Kind = SessionEventKind.Finish, FinishReason = "stop", StopToken = 9 },
            new SessionEvent { SequenceNumber = 2, Kind = SessionEventKind.Usage, Usage = new TokenUsage(1, 1, 0) },
        ];
        JsonNode[] chunks = await Chunks(gateway, "/v1/completions", """{"model":"m","prompt":[5],"stream":true,"logprobs":0}""");
        Assert.Equal(
            """{"text_offset":[0],"token_logprobs":[-9999],"tokens":["token_id:9"],"top_logprobs":[{"token_id:9":-9999}]}""",
            chunks[0]["choices"]![0]!["logprobs"]!.ToJsonString());
        Assert.Equal(9, (int)chunks[1]["choices"]![0]!["stop_reason"]!);
    }

    private static async Task<JsonNode[]> Chunks(GatewayFixture gateway, string path, string body)
    {
        List<string> payloads = await ServerSentEvents.PostAsync(gateway.Http, path, JsonNode.Parse(body)!.AsObject()).ToListAsync();
        Assert.Equal(ServerSentEvents.Done, payloads[^1]);
        return [.. payloads[..^1].Select(payload => JsonNode.Parse(payload)!)];
    }
}
