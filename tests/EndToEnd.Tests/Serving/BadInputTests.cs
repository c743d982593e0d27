using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Serving;

/// <summary>One silo that serves a text model and a token-only model, for all bad requests.</summary>
public sealed class BadInputSilo : IAsyncLifetime
{
    private SiloProcess? _silo;

    /// <summary>The silo.</summary>
    internal SiloProcess Silo => _silo!;

    /// <inheritdoc/>
    public async ValueTask InitializeAsync() => _silo = await Silos.LaunchAsync(
        "--model", SharedData.InRepository("models", "cluster-demo"), "--model", SharedData.InRepository("tests", "Checkpoints", "llama"));

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _silo?.Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>Bad requests: a typed error that names field, limit and value, before any work; and the silo goes on.</summary>
public sealed class BadInputTests(BadInputSilo host) : IClassFixture<BadInputSilo>
{
    public static TheoryData<string, string, HttpStatusCode, string?, string> Requests => new()
    {
        { "/v1/completions", """{"model":"nope","prompt":"a"}""", HttpStatusCode.NotFound, "model", "nope" },
        { "/v1/completions", """{"prompt":"a"}""", HttpStatusCode.BadRequest, "model", "model" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":""}""", HttpStatusCode.BadRequest, "prompt", "empty" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":[]}""", HttpStatusCode.BadRequest, "prompt", "empty" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":5}""", HttpStatusCode.BadRequest, "prompt", "prompt" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","max_tokens":"many"}""", HttpStatusCode.BadRequest, "max_tokens", "max_tokens" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","temperature":NaN}""", HttpStatusCode.BadRequest, "temperature", "JSON" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","temperature":"NaN"}""", HttpStatusCode.BadRequest, "temperature", "temperature" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","temperature":1e999}""", HttpStatusCode.BadRequest, "temperature", "temperature" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","temperature":2.5}""", HttpStatusCode.BadRequest, "temperature", "2.5" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","top_p":0}""", HttpStatusCode.BadRequest, "top_p", "0" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","n":129}""", HttpStatusCode.BadRequest, "n", "128" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","logprobs":6}""", HttpStatusCode.BadRequest, "logprobs", "5" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a","max_tokens":1000000}""", HttpStatusCode.BadRequest, "max_tokens", "1000000" },
        { "/v1/completions", """{"model":"llama","prompt":[1,2,307]}""", HttpStatusCode.BadRequest, "prompt", "306" },
        { "/v1/completions", """{"model":"llama","prompt":[1,-2]}""", HttpStatusCode.BadRequest, "prompt", "-2" },
        { "/v1/completions", """{"model":"llama","prompt":"text"}""", HttpStatusCode.BadRequest, "prompt", "tokenizer" },
        { "/v1/completions", """{"model":"llama","prompt":[1],"stop":["x"]}""", HttpStatusCode.BadRequest, "stop", "tokenizer" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a"}x""", HttpStatusCode.BadRequest, null, "JSON" },
        { "/v1/completions", """{"model":"cluster-demo","prompt":"a" """, HttpStatusCode.BadRequest, null, "JSON" },
        { "/v1/chat/completions", """{"model":"cluster-demo"}""", HttpStatusCode.BadRequest, "messages", "messages" },
        { "/v1/chat/completions", """{"model":"cluster-demo","messages":[]}""", HttpStatusCode.BadRequest, "messages", "empty" },
        { "/v1/chat/completions", """{"model":"cluster-demo","messages":[{"role":"user"}],"top_logprobs":21,"logprobs":true}""", HttpStatusCode.BadRequest, "top_logprobs", "20" },
        { "/v1/chat/completions", """{"model":"cluster-demo","messages":"hello"}""", HttpStatusCode.BadRequest, "messages", "messages" },
        { "/v1/chat/completions", """{"model":"llama","messages":[{"role":"user","content":"hi"}]}""", HttpStatusCode.BadRequest, "messages", "tokenizer" },
        { "/v1/nothing", """{}""", HttpStatusCode.NotFound, null, "/v1/nothing" },
    };

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task ABadRequest_IsRefusedWithFieldLimitAndValue(string path, string body, HttpStatusCode status, string? field, string mentions)
    {
        using HttpResponseMessage answer = await PostAsync(path, Encoding.UTF8.GetBytes(body));
        JsonObject error = await ErrorAsync(answer, status);
        Assert.Equal(field, (string?)error["param"]);
        Assert.Contains(mentions, (string)error["message"]!, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("System.", (string)error["message"]!, StringComparison.Ordinal);
        await AssertServingAsync();
    }

    [Fact]
    public async Task APromptLongerThanTheModel_IsRefusedWithBothLengths()
    {
        string body = $$"""{"model":"llama","prompt":[{{string.Join(',', Enumerable.Repeat(5, 600))}}],"max_tokens":1}""";
        using HttpResponseMessage answer = await PostAsync("/v1/completions", Encoding.UTF8.GetBytes(body));
        JsonObject error = await ErrorAsync(answer, HttpStatusCode.BadRequest);
        Assert.Equal("context_length_exceeded", (string?)error["code"]);
        Assert.Contains("600", (string)error["message"]!, StringComparison.Ordinal);
        Assert.Contains("512", (string)error["message"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AHundredMegabyteBody_IsRefusedWith413()
    {
        byte[] body = new byte[100 << 20];
        Array.Fill(body, (byte)' ');
        HttpResponseMessage? answer = null;
        try
        {
            answer = await PostAsync("/v1/completions", body);
        }
        catch (HttpRequestException)
        {
            // The server may close the connection before all of the body was sent; that is a refusal, too.
        }
        if (answer is not null)
            await ErrorAsync(answer, HttpStatusCode.RequestEntityTooLarge);
        await AssertServingAsync();
    }

    [Fact]
    public async Task InvalidUtf8_IsRefused()
    {
        byte[] body = [.. "{\"model\":\"cluster-demo\",\"prompt\":\""u8, 0xC3, 0x28, 0xFF, .. "\"}"u8];
        using HttpResponseMessage answer = await PostAsync("/v1/completions", body);
        await ErrorAsync(answer, HttpStatusCode.BadRequest);
        await AssertServingAsync();
    }

    [Fact]
    public async Task DeepNesting_IsRefused()
    {
        string nested = new string('[', 10_000) + new string(']', 10_000);
        using HttpResponseMessage answer = await PostAsync("/v1/chat/completions", Encoding.UTF8.GetBytes($$"""{"model":"cluster-demo","messages":{{nested}}}"""));
        await ErrorAsync(answer, HttpStatusCode.BadRequest);
        await AssertServingAsync();
    }

    private async Task AssertServingAsync()
    {
        JsonObject request = new() { ["model"] = "cluster-demo", ["prompt"] = "Hello", ["max_tokens"] = 1 };
        (HttpStatusCode status, JsonNode body) = await host.Silo.PostAsync("/v1/completions", request);
        Assert.True(status == HttpStatusCode.OK, body.ToJsonString());
    }

    private Task<HttpResponseMessage> PostAsync(string path, byte[] body)
    {
        var content = new ByteArrayContent(body);
        content.Headers.ContentType = new("application/json");
        return host.Silo.Http.PostAsync(path, content);
    }

    private static async Task<JsonObject> ErrorAsync(HttpResponseMessage answer, HttpStatusCode status)
    {
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.StatusCode == status, $"{(int)answer.StatusCode}: {text}");
        Assert.True(answer.Headers.Contains("x-request-id"));
        JsonObject error = JsonNode.Parse(text)!["error"]!.AsObject();
        Assert.Equal(["code", "message", "param", "type"], error.Select(member => member.Key).Order());
        return error;
    }
}
