using System.Text.Json.Nodes;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests;

/// <summary>Requests as the tests send them, and the tokens of the answers.</summary>
internal static class Completions
{
    /// <summary>A greedy completion of token ids that goes on past end-of-sequence, as the reference does.</summary>
    public static JsonObject Greedy(string model, IReadOnlyList<int> prompt, int maxTokens) => new()
    {
        ["model"] = model,
        ["prompt"] = Ids(prompt),
        ["max_tokens"] = maxTokens,
        ["temperature"] = 0,
        ["repetition_penalty"] = 1,
        ["ignore_eos"] = true,
        ["return_token_ids"] = true,
    };

    /// <summary>A sampled completion with a seed.</summary>
    public static JsonObject Sampled(string model, IReadOnlyList<int> prompt, int maxTokens, int choices, long seed)
    {
        JsonObject request = Greedy(model, prompt, maxTokens);
        request["temperature"] = 0.9;
        request["top_p"] = 0.95;
        request["seed"] = seed;
        request["n"] = choices;
        return request;
    }

    /// <summary>Posts and returns the tokens of every choice.</summary>
    public static async Task<int[][]> TokensAsync(SiloProcess silo, JsonObject request)
    {
        (System.Net.HttpStatusCode status, JsonNode body) = await silo.PostAsync("/v1/completions", request);
        Assert.True(status == System.Net.HttpStatusCode.OK, body.ToJsonString());
        return [.. body["choices"]!.AsArray().OrderBy(choice => (int)choice!["index"]!).Select(choice => Tokens(choice!))];
    }

    /// <summary>Streams a request and returns the payload of every event.</summary>
    public static async Task<List<string>> EventsAsync(SiloProcess silo, JsonObject request, string path = "/v1/completions")
    {
        var events = new List<string>();
        await foreach (string payload in ServerSentEvents.PostAsync(silo.Http, path, (JsonObject)request.DeepClone()))
            events.Add(payload);
        return events;
    }

    /// <summary>Tokens of every choice, put together from stream events.</summary>
    public static int[][] TokensOf(IEnumerable<string> events) =>
        [.. events.Where(payload => payload != ServerSentEvents.Done)
            .SelectMany(payload => JsonNode.Parse(payload)!["choices"]!.AsArray())
            .GroupBy(choice => (int)choice!["index"]!)
            .OrderBy(group => group.Key)
            .Select(group => group.SelectMany(choice => Tokens(choice!)).ToArray())];

    /// <summary>Sequence number of an event.</summary>
    public static long SequenceNumber(string payload) => (long)JsonNode.Parse(payload)!["sequence_number"]!;

    /// <summary>Token ids as JSON.</summary>
    public static JsonArray Ids(IReadOnlyList<int> tokens) => new([.. tokens.Select(token => JsonValue.Create(token))]);

    private static int[] Tokens(JsonNode choice) => choice["token_ids"] is JsonArray ids ? [.. ids.Select(id => (int)id!)] : [];
}
