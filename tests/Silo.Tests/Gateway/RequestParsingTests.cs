using System.Text;
using System.Text.Json.Nodes;
using Cluster.Contracts;

namespace Cluster.Silo.Tests.Gateway;

/// <summary>What the gateway makes of request bodies, good and bad.</summary>
public sealed class RequestParsingTests
{
    [Fact]
    public async Task EveryFieldOfACompletionArrives()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        await gateway.PostJsonAsync("/v1/completions", """
            {"model":"m","prompt":"hi","max_tokens":7,"min_tokens":2,"temperature":0.5,"top_p":0.9,"top_k":5,"min_p":0.1,
             "repetition_penalty":1.1,"frequency_penalty":0.2,"presence_penalty":-0.3,"logit_bias":{"5":-100,"7":2.5},"seed":-9,
             "n":1,"best_of":1,"stop":["a","b"],"stop_token_ids":[3,4],"ignore_eos":true,"include_stop_str_in_output":true,
             "skip_special_tokens":false,"echo":true,"logprobs":3,"priority":-2,"background":true,"return_token_ids":true,
             "return_tokens_as_token_ids":true,"user":"u","suffix":null,"stream":false,"stream_options":null}
            """);
        GenerationRequest request = gateway.Sessions.Request!;
        Assert.Equal(("m", RequestKind.Completion, "hi"), (request.Model, request.Kind, request.Prompts.Single().Text));
        Assert.Equal(
            (7, 2, true, true),
            (request.Stop.MaxTokens, request.Stop.MinTokens, request.Stop.IgnoreEos, request.Stop.IncludeStopString));
        Assert.Equal(["a", "b"], request.Stop.Strings);
        Assert.Equal([3, 4], request.Stop.TokenIds);
        Assert.Equal((0.5f, 5, 0.9f, 0.1f), (request.Sampling.Temperature, request.Sampling.TopK, request.Sampling.TopP, request.Sampling.MinP));
        Assert.Equal((1.1f, 0.2f, -0.3f, -9L), (request.Sampling.RepetitionPenalty, request.Sampling.FrequencyPenalty, request.Sampling.PresencePenalty, request.Sampling.Seed));
        Assert.Equal((-100f, 2.5f), (request.Sampling.LogitBias[5], request.Sampling.LogitBias[7]));
        Assert.Equal((3, 3, -2, true), (request.Logprobs, request.PromptLogprobs, request.Priority, request.Background));
        Assert.Equal(
            new PresentationOptions { Echo = true, ReturnTokenIds = true, TokensAsTokenIds = true, SkipSpecialTokens = false },
            request.Presentation);
        Assert.DoesNotContain(gateway.Log.Lines, line => line.Contains("ignored", StringComparison.Ordinal));
    }

    [Fact]
    public async Task NullStandsForAbsentEverywhere()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        string[] fields =
        [
            "max_tokens", "min_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty",
            "logit_bias", "seed", "n", "best_of", "stop", "stop_token_ids", "ignore_eos", "include_stop_str_in_output", "skip_special_tokens",
            "echo", "logprobs", "priority", "background", "return_token_ids", "return_tokens_as_token_ids", "user", "suffix", "stream",
            "stream_options", "response_format", "model",
        ];
        await gateway.PostJsonAsync("/v1/completions", $$"""{"prompt":"hi",{{string.Join(',', fields.Select(field => $"\"{field}\":null"))}}}""");
        Assert.Equal(new StopOptions(), gateway.Sessions.Request!.Stop);
        Assert.Equal(("m", 1), (gateway.Sessions.Request.Model, gateway.Sessions.Request.Choices));
    }

    [Theory]
    [InlineData("\"text\"", "text")]
    [InlineData("[\"a\",\"b\"]", "a|b")]
    [InlineData("[1,2,3]", "1,2,3")]
    [InlineData("[[1,2],[3]]", "1,2|3")]
    [InlineData("[\"a\",[3]]", "a|3")]
    public async Task PromptsComeInEveryShape(string prompt, string expected)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        gateway.Sessions.Events = Script.Tokens(1, choices: expected.Split('|').Length);
        await gateway.PostJsonAsync("/v1/completions", $$"""{"model":"m","prompt":{{prompt}}}""");
        Assert.Equal(expected, string.Join('|', gateway.Sessions.Request!.Prompts.Select(p => p.Text ?? string.Join(',', p.TokenIds))));
    }

    [Fact]
    public async Task UnknownFieldsAreIgnoredWithALogLine()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        await gateway.PostJsonAsync("/v1/completions", """{"model":"m","prompt":"hi","frobnicate":{"a":1},"cache_salt":"x"}""");
        Assert.Contains(gateway.Log.Lines, line => line.Contains("frobnicate, cache_salt", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ChatMessagesArriveAsTheTemplateNeedsThem()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        await gateway.PostJsonAsync("/v1/chat/completions", """
            {"model":"m","max_tokens":5,"max_completion_tokens":6,"logprobs":true,"top_logprobs":2,
             "messages":[{"role":"system","content":"be brief"},
                         {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
                         {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
                         {"role":"tool","tool_call_id":"c1","content":"42"}],
             "tools":[{"type":"function","function":{"name":"f"}}],"chat_template_kwargs":{"enable_thinking":false},"add_generation_prompt":true}
            """);
        GenerationRequest request = gateway.Sessions.Request!;
        Assert.Equal((6, 2), (request.Stop.MaxTokens, request.Logprobs));
        Assert.Equal(["be brief", "a\nb", null, "42"], request.Messages.Select(message => message.Content));
        Assert.Null(request.Messages[0].Json);
        Assert.True(JsonNode.DeepEquals(
            JsonNode.Parse("""{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":{"x":1}}}]}"""),
            JsonNode.Parse(request.Messages[2].Json!)));
        Assert.True(JsonNode.DeepEquals(
            JsonNode.Parse("""{"role":"tool","content":"42","tool_call_id":"c1"}"""), JsonNode.Parse(request.Messages[3].Json!)));
        Assert.Equal("""[{"type":"function","function":{"name":"f"}}]""", request.Template.ToolsJson);
        Assert.Equal("""{"enable_thinking":false}""", request.Template.ArgumentsJson);
    }

    [Theory]
    [InlineData("""{"model":"m","prompt":"hi","temperature":"hot"}""", "temperature", "a finite number, got a string (\"hot\")")]
    [InlineData("""{"model":"m","prompt":"hi","temperature":1e999}""", "temperature", "1e999")]
    [InlineData("""{"model":"m","prompt":"hi","temperature":NaN}""", "temperature", "NaN and Infinity are not JSON numbers")]
    [InlineData("""{"model":"m","prompt":"hi","temperature":-Infinity}""", "temperature", "NaN and Infinity are not JSON numbers")]
    [InlineData("""{"model":"m","prompt":"hi","n":1.5}""", "n", "a whole number of 32 bits, got a number (1.5)")]
    [InlineData("""{"model":"m","prompt":"hi","n":99999999999}""", "n", "99999999999")]
    [InlineData("""{"model":"m","prompt":"hi","stream":1}""", "stream", "a boolean, got a number (1)")]
    [InlineData("""{"model":"m","prompt":"hi","stop":[1]}""", "stop[0]", "a string")]
    [InlineData("""{"model":"m","prompt":"hi","stop":{}}""", "stop", "an object")]
    [InlineData("""{"model":"m","prompt":"hi","logit_bias":{"x":1}}""", "logit_bias", "token ids as keys, got 'x'")]
    [InlineData("""{"model":"m","prompt":"hi","logit_bias":{"1":"a"}}""", "logit_bias.1", "a finite number")]
    [InlineData("""{"model":"m","prompt":"hi","stop_token_ids":[1,"a"]}""", "stop_token_ids[1]", "a whole number")]
    [InlineData("""{"model":"m","prompt":[1,2.5]}""", "prompt[1]", "2.5")]
    [InlineData("""{"model":"m","prompt":[[1],[true]]}""", "prompt[1][0]", "a boolean")]
    [InlineData("""{"model":"m","prompt":[]}""", "prompt", "at least one token is needed, got 0")]
    [InlineData("""{"model":"m","prompt":""}""", "prompt", "empty; at least one character is needed, got 0")]
    [InlineData("""{"model":"m","prompt":["a",""]}""", "prompt[1]", "empty; at least one character is needed, got 0")]
    [InlineData("""{"model":"m","prompt":7}""", "prompt", "a number (7)")]
    [InlineData("""{"model":"m"}""", "prompt", "missing")]
    [InlineData("""{"model":7,"prompt":"hi"}""", "model", "a string")]
    [InlineData("""{"model":"m","prompt":"hi","suffix":"x"}""", "suffix", "not supported")]
    [InlineData("""{"model":"m","prompt":"hi","best_of":3,"n":2}""", "best_of", "must equal 'n' (2), got 3")]
    [InlineData("""{"model":"m","prompt":"hi","stream_options":{"include_usage":true}}""", "stream_options", "'stream' true")]
    [InlineData("""{"model":"m","prompt":"hi","guided_json":{"type":"object"}}""", "guided_json", "not supported")]
    [InlineData("""{"model":"m","prompt":"hi","response_format":{"type":"json_object"}}""", "response_format", "json_object")]
    [InlineData("""{"model":"m","prompt":"hi","model":"m"}""", "model", "given twice")]
    [InlineData("""{"model":"m","prompt":"hi","logit_bias":{"1":1,"1":2}}""", "logit_bias", "given twice")]
    [InlineData("""{"model":"m","prompt":"\ud800"}""", "prompt", "surrogate")]
    [InlineData("""{"model":"m","prompt":"hi" """, null, "ends at byte")]
    [InlineData("""{"model":"m","prompt":"hi"} x""", null, "near 'x'")]
    [InlineData("""[1]""", null, "a JSON object, got an array")]
    [InlineData("  ", null, "is empty")]
    public async Task ABadCompletionIsRefusedByField(string body, string? field, string problem)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        using HttpResponseMessage response = await gateway.PostAsync("/v1/completions", body);
        JsonObject error = await GatewayFixture.ErrorOf(response, 400);
        Assert.Contains(problem, (string)error["message"]!, StringComparison.Ordinal);
        Assert.Equal(field, (string?)error["param"]);
        Assert.Equal("invalid_request_error", (string)error["type"]!);
        Assert.Null(gateway.Sessions.Request);
    }

    [Theory]
    [InlineData("""{"model":"m"}""", "messages", "missing")]
    [InlineData("""{"model":"m","messages":[]}""", "messages", "got 0")]
    [InlineData("""{"model":"m","messages":"hi"}""", "messages", "an array of messages")]
    [InlineData("""{"model":"m","messages":[7]}""", "messages[0]", "an object")]
    [InlineData("""{"model":"m","messages":[{"content":"x"}]}""", "messages[0].role", "missing")]
    [InlineData("""{"model":"m","messages":[{"role":5}]}""", "messages[0].role", "a string")]
    [InlineData("""{"model":"m","messages":[{"role":"user","content":5}]}""", "messages[0].content", "text parts")]
    [InlineData("""{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}""", "messages[0].content[0].type", "image_url")]
    [InlineData("""{"model":"m","messages":[{"role":"user","role":"user"}]}""", "messages", "given twice")]
    [InlineData("""{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{"}}]}]}""", "messages[0].tool_calls[0].function.arguments", "JSON text")]
    [InlineData("""{"model":"m","messages":[{"role":"user","content":"x"}],"top_logprobs":3}""", "top_logprobs", "'logprobs' true")]
    [InlineData("""{"model":"m","messages":[{"role":"user","content":"x"}],"tool_choice":"required"}""", "tool_choice", "cannot be forced")]
    [InlineData("""{"model":"m","messages":[{"role":"user","content":"x"}],"continue_final_message":true,"add_generation_prompt":true}""", "continue_final_message", "cannot both")]
    public async Task ABadChatIsRefusedByField(string body, string field, string problem)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        using HttpResponseMessage response = await gateway.PostAsync("/v1/chat/completions", body);
        JsonObject error = await GatewayFixture.ErrorOf(response, 400);
        Assert.Contains(problem, (string)error["message"]!, StringComparison.Ordinal);
        Assert.Equal(field, (string?)error["param"]);
    }

    [Fact]
    public async Task InvalidUtf8IsRefusedWithItsPosition()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        byte[] body = [.. Encoding.UTF8.GetBytes("{\"prompt\":\"é"), 0xFF, .. "\"}"u8];
        using HttpResponseMessage response = await gateway.Http.PostAsync("/v1/completions", new ByteArrayContent(body));
        JsonObject error = await GatewayFixture.ErrorOf(response, 400);
        Assert.Contains("not valid UTF-8: first wrong byte at position 13", (string)error["message"]!, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(63, true)]
    [InlineData(64, false)]
    [InlineData(100_000, false)]
    public async Task NestingIsLimited(int depth, bool accepted)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        string nested = new string('[', depth) + new string(']', depth);
        using HttpResponseMessage response = await gateway.PostAsync("/v1/completions", $$"""{"model":"m","prompt":"hi","x":{{nested}}}""");
        if (accepted)
        {
            Assert.True(response.IsSuccessStatusCode);
            return;
        }
        JsonObject error = await GatewayFixture.ErrorOf(response, 400);
        Assert.Contains("deeper than 64 levels", (string)error["message"]!, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ALargeBodyGets413(bool announced)
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync(maxBody: 1000);
        var content = new StreamContent(new MemoryStream(new byte[8 << 20]));
        content.Headers.ContentLength = announced ? 8 << 20 : null;
        using var message = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = content };
        message.Headers.TransferEncodingChunked = !announced;
        using HttpResponseMessage response = await gateway.Http.SendAsync(message);
        JsonObject error = await GatewayFixture.ErrorOf(response, 413);
        Assert.Contains("at most 1000 bytes, got ", (string)error["message"]!, StringComparison.Ordinal);
    }
}
