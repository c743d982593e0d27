using System.Net;
using System.Text.Json.Nodes;
using Cluster.Contracts;
using Cluster.Silo.Gateway;

namespace Cluster.Silo.Tests.Gateway;

/// <summary>Unary answers, sessions by id, keys, routes, drain.</summary>
public sealed class EndpointTests
{
    [Fact]
    public async Task AUnaryCompletionHasEveryMember()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events = Script.Tokens(3, choices: 2, logprobs: true);
        JsonNode answer = await gateway.PostJsonAsync("/v1/completions", """{"model":"m","prompt":"hi","n":2,"logprobs":1,"return_token_ids":true}""");
        Assert.Equal(["id", "object", "created", "model", "choices", "usage"], answer.AsObject().Select(member => member.Key));
        JsonNode choice = answer["choices"]![1]!;
        Assert.Equal(
            ["index", "text", "logprobs", "finish_reason", "stop_reason", "token_ids", "prompt_token_ids"],
            choice.AsObject().Select(member => member.Key));
        Assert.Equal((1, "Hello \"wörld\"\n", "length"), ((int)choice["index"]!, (string)choice["text"]!, (string)choice["finish_reason"]!));
        Assert.Equal("[100,101,102]", choice["token_ids"]!.ToJsonString());
        Assert.Equal("[0,5,14]", choice["logprobs"]!["text_offset"]!.ToJsonString());
        Assert.Equal(6, (int)answer["usage"]!["completion_tokens"]!);
    }

    [Fact]
    public async Task AUnaryChatHasEveryMember()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        JsonNode answer = await gateway.PostJsonAsync("/v1/chat/completions", """{"model":"m","messages":[{"role":"user","content":"x"}],"return_token_ids":true}""");
        Assert.Equal("chat.completion", (string)answer["object"]!);
        Assert.Equal("[1,2,3,4]", answer["prompt_token_ids"]!.ToJsonString());
        JsonNode choice = answer["choices"]![0]!;
        Assert.Equal(["index", "message", "logprobs", "finish_reason", "stop_reason", "token_ids"], choice.AsObject().Select(member => member.Key));
        Assert.Null(choice["logprobs"]);
        Assert.True(JsonNode.DeepEquals(
            JsonNode.Parse("""{"role":"assistant","content":"Hello \"wörld\"\n","refusal":null}"""), choice["message"]));
    }

    [Fact]
    public async Task AUnaryCallerFindsItsSessionByItsOwnRequestId()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        using var message = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = new StringContent("""{"model":"m","prompt":"hi"}""") };
        message.Headers.Add("X-Request-Id", "my-request-7");
        using HttpResponseMessage response = await gateway.Http.SendAsync(message);
        Assert.Equal("my-request-7", response.Headers.GetValues("x-request-id").Single());
        string answer = await response.Content.ReadAsStringAsync();
        string id = (string)JsonNode.Parse(answer)!["id"]!;
        Assert.Equal(answer, await gateway.Http.GetStringAsync("/v1/completions/my-request-7"));
        Assert.Equal(answer, await gateway.Http.GetStringAsync($"/v1/completions/{id}"));
        using HttpResponseMessage other = await gateway.Http.GetAsync("/v1/chat/completions/my-request-7");
        await GatewayFixture.ErrorOf(other, 404);
    }

    [Fact]
    public async Task ARequestIdUsedForAnotherRequestGetsASessionOfItsOwn()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        int starts = 0;
        gateway.Sessions.Starting = _ =>
        {
            if (starts++ == 0)
                throw new RequestRejectedException(RejectionReason.InvalidRequest, "The id belongs to another request.", "request_id");
        };
        gateway.Http.DefaultRequestHeaders.Add("X-Request-Id", "again");
        JsonNode answer = await gateway.PostJsonAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        Assert.NotEqual(SessionIds.For(RequestKind.Completion, "", "again"), (string)answer["id"]!);
    }

    [Fact]
    public async Task DeleteCancelsOnce()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        JsonNode answer = await gateway.PostJsonAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        using HttpResponseMessage first = await gateway.Http.DeleteAsync($"/v1/completions/{answer["id"]}");
        Assert.Equal(
            $$"""{"id":"{{answer["id"]}}","object":"text_completion.deleted","deleted":true}""", await first.Content.ReadAsStringAsync());
        using HttpResponseMessage second = await gateway.Http.DeleteAsync($"/v1/completions/{answer["id"]}");
        Assert.Equal("session_not_found", (string)(await GatewayFixture.ErrorOf(second, 404))["code"]!);
        using HttpResponseMessage resumed = await gateway.Http.GetAsync($"/v1/completions/{answer["id"]}?stream=true");
        await GatewayFixture.ErrorOf(resumed, 404);
    }

    [Theory]
    [InlineData(RejectionReason.InvalidRequest, 400, null)]
    [InlineData(RejectionReason.ModelNotFound, 404, "model_not_found")]
    [InlineData(RejectionReason.SessionNotFound, 404, "session_not_found")]
    [InlineData(RejectionReason.Overloaded, 503, "overloaded")]
    [InlineData(RejectionReason.ContextLengthExceeded, 400, "context_length_exceeded")]
    [InlineData(RejectionReason.SessionCancelled, 410, "session_cancelled")]
    [InlineData(RejectionReason.ModelChanged, 409, "model_changed")]
    public async Task EveryRejectionHasItsStatus(RejectionReason reason, int status, string? code)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Starting = _ => throw new RequestRejectedException(reason, "limit 5, was 6", "field");
        using HttpResponseMessage response = await gateway.PostAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        JsonObject error = await GatewayFixture.ErrorOf(response, status);
        Assert.Equal(("limit 5, was 6", "field", code), ((string)error["message"]!, (string)error["param"]!, (string?)error["code"]));
        Assert.Equal(status == 503, response.Headers.RetryAfter is not null);
    }

    [Fact]
    public async Task AnUnexpectedFailureIsA500WithoutInternals()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Starting = _ => throw new InvalidOperationException("secret");
        using HttpResponseMessage response = await gateway.PostAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        JsonObject error = await GatewayFixture.ErrorOf(response, 500);
        Assert.DoesNotContain("secret", error.ToJsonString(), StringComparison.Ordinal);
        Assert.Contains(gateway.Log.Lines, line => line.Contains(response.Headers.GetValues("x-request-id").Single(), StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("GET", "/nowhere", 404, "unknown_url")]
    [InlineData("POST", "/v1", 404, "unknown_url")]
    [InlineData("GET", "/v1/completions", 405, "method_not_allowed")]
    [InlineData("PUT", "/v1/chat/completions", 405, "method_not_allowed")]
    [InlineData("GET", "/v1/models/none", 404, "model_not_found")]
    public async Task UnknownRoutesAreErrorObjects(string method, string path, int status, string code)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        using HttpResponseMessage response = await gateway.Http.SendAsync(new HttpRequestMessage(new HttpMethod(method), path));
        Assert.Equal(code, (string)(await GatewayFixture.ErrorOf(response, status))["code"]!);
    }

    [Theory]
    [InlineData(null, 401)]
    [InlineData("wrong", 401)]
    [InlineData("key-2", 200)]
    public async Task KeysAreNeededEverywhereButForHealthAndMetrics(string? key, int status)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync(keys: ["key-1", "key-2"]);
        gateway.Authorize(key);
        foreach (string path in new[] { "/v1/models", "/version", "/admin/topology", "/admin/gateways", "/nowhere" })
        {
            using HttpResponseMessage response = await gateway.Http.GetAsync(path);
            if (status == 401)
                Assert.Equal("invalid_api_key", (string)(await GatewayFixture.ErrorOf(response, 401))["code"]!);
            else
                Assert.Equal(path == "/nowhere" ? HttpStatusCode.NotFound : HttpStatusCode.OK, response.StatusCode);
        }
        foreach (string path in new[] { "/health", "/health/live", "/health/ready", "/metrics", "/ping" })
        {
            using HttpResponseMessage response = await gateway.Http.GetAsync(path);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        }
    }

    [Fact]
    public async Task ASessionBelongsToTheKeyThatMadeIt()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync(keys: ["key-1", "key-2"]);
        gateway.Authorize("key-1");
        JsonNode answer = await gateway.PostJsonAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        Assert.Equal(SessionId.OwnerOf("key-1"), gateway.Sessions.Request!.Owner);
        gateway.Authorize("key-2");
        using HttpResponseMessage response = await gateway.Http.GetAsync($"/v1/completions/{answer["id"]}");
        await GatewayFixture.ErrorOf(response, 404);
        using HttpResponseMessage deleted = await gateway.Http.DeleteAsync($"/v1/completions/{answer["id"]}");
        await GatewayFixture.ErrorOf(deleted, 404);
    }

    [Fact]
    public async Task ModelsAreListed()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        JsonNode list = await gateway.GetJsonAsync("/v1/models");
        Assert.Equal(
            """{"object":"list","data":[{"id":"m","object":"model","created":1700000000,"owned_by":"cluster","root":"/models/m","parent":null,"max_model_len":512}]}""",
            list.ToJsonString());
        Assert.True(JsonNode.DeepEquals(list["data"]![0], await gateway.GetJsonAsync("/v1/models/m")));
    }

    [Fact]
    public async Task AdminAnswersAreSnakeCase()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        JsonNode topology = await gateway.GetJsonAsync("/admin/topology");
        Assert.Equal(7, (long)topology["version"]!);
        Assert.Equal("http://127.0.0.1:8000", (string)topology["silos"]![0]!["http_url"]!);
        Assert.Equal("a/cpu:0/m/0/0", (string)topology["replicas"]![0]!["shards"]![0]!["key"]!);
        Assert.Equal(
            """{"cluster_id":"cluster","service_id":"cluster","gateways":["127.0.0.1:30000"],"response_timeout_seconds":10}""",
            (await gateway.GetJsonAsync("/admin/gateways")).ToJsonString());
    }

    [Fact]
    public async Task HealthTellsWhyNot()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Get<FixedReadiness>().Reason = "models are loading";
        foreach (string path in new[] { "/health", "/health/ready", "/ping" })
        {
            using HttpResponseMessage response = await gateway.Http.GetAsync(path);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
            Assert.Contains("models are loading", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }
        using HttpResponseMessage live = await gateway.Http.GetAsync("/health/live");
        Assert.Equal(HttpStatusCode.OK, live.StatusCode);
    }

    [Fact]
    public async Task RequestsAreHeldWhileTheSiloStarts()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync(serving: false);
        Task<JsonNode> answer = gateway.PostJsonAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        using HttpResponseMessage live = await gateway.Http.GetAsync("/health/live");
        Assert.False(answer.IsCompleted);
        gateway.Get<ServingGate>().Open();
        Assert.NotNull(await answer);
    }

    [Fact]
    public async Task ARequestIsHeldNoLongerThanModelWait()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync(serving: false, modelWait: 0.05);
        using HttpResponseMessage response = await gateway.PostAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        await GatewayFixture.ErrorOf(response, 503);
        Assert.NotNull(response.Headers.RetryAfter);
    }

    [Fact]
    public async Task WhileDrainingNewRequestsGet503AndRunningOnesEnd()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        var reached = new TaskCompletionSource();
        var release = new TaskCompletionSource();
        gateway.Sessions.Before = async (_, cancellation) =>
        {
            reached.TrySetResult();
            await release.Task.WaitAsync(cancellation);
        };
        Task<JsonNode> running = gateway.PostJsonAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        await reached.Task;
        Task idle = gateway.Get<DrainGate>().Close();
        using HttpResponseMessage refused = await gateway.PostAsync("/v1/completions", """{"model":"m","prompt":"hi"}""");
        await GatewayFixture.ErrorOf(refused, 503);
        Assert.NotNull(refused.Headers.RetryAfter);
        Assert.False(idle.IsCompleted);
        release.SetResult();
        Assert.NotNull(await running);
        await idle.WaitAsync(TimeSpan.FromSeconds(5));
    }

    [Fact]
    public async Task AtTheDrainDeadlineRunningStreamsAreCut()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Before = (current, cancellation) => current.SequenceNumber == 0 ? Task.CompletedTask : Task.Delay(Timeout.Infinite, cancellation);
        using var message = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = new StringContent("""{"model":"m","prompt":"hi","stream":true}""") };
        using HttpResponseMessage response = await gateway.Http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        await reader.ReadLineAsync();
        Task idle = gateway.Get<DrainGate>().Close();
        gateway.Get<DrainGate>().Cut();
        await reader.ReadLineAsync();
        Assert.Contains("shutting down", await reader.ReadLineAsync(), StringComparison.Ordinal);
        await Assert.ThrowsAnyAsync<IOException>(() => reader.ReadToEndAsync());
        await idle.WaitAsync(TimeSpan.FromSeconds(5));
    }
}
