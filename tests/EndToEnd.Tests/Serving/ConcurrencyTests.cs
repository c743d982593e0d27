using System.Net;
using System.Text.Json.Nodes;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Serving;

/// <summary>Many streams at once, cancellation and overload, on the bundled model.</summary>
public sealed class ConcurrencyTests
{
    private const string Model = "cluster-demo";

    [Fact]
    public async Task SixtyFourStreams_GiveTheSameTokensAsOneByOne()
    {
        using SiloProcess silo = await Silos.LaunchAsync("--max-num-seqs", "64");
        JsonObject[] requests = [.. Enumerable.Range(0, 64).Select(Request)];
        var alone = new List<int[]>();
        foreach (JsonObject request in requests)
            alone.Add(Completions.TokensOf(await Completions.EventsAsync(silo, request))[0]);
        Assert.True(alone.DistinctBy(tokens => string.Join(' ', tokens)).Count() > 32, "the requests should differ");

        List<string>[] together = await Task.WhenAll(requests.Select(request => Completions.EventsAsync(silo, request)));
        Assert.All(together, events => Assert.Equal(ServerSentEvents.Done, events[^1]));
        for (int i = 0; i < requests.Length; i++)
            Assert.Equal(alone[i], Completions.TokensOf(together[i])[0]);
    }

    [Fact]
    public async Task ADisconnectedClient_FreesItsBlocksAndASessionCanGoOn()
    {
        using SiloProcess silo = await Silos.LaunchAsync();
        JsonObject request = Request(1);
        request["max_tokens"] = 900;
        request["ignore_eos"] = true;
        string? id = null;
        long seen = -1;
        int count = 0;
        await foreach (string payload in ServerSentEvents.PostAsync(silo.Http, "/v1/completions", request))
        {
            id = (string)JsonNode.Parse(payload)!["id"]!;
            seen = Completions.SequenceNumber(payload);
            if (++count == 20)
                break;
        }
        await Eventually(async () => await silo.MetricAsync("vllm:num_requests_running") == 0 && await silo.MetricAsync("vllm:kv_cache_usage_perc") == 0);

        await foreach (string payload in ServerSentEvents.ResumeAsync(silo.Http, $"/v1/completions/{id}", seen))
        {
            Assert.Equal(seen + 1, Completions.SequenceNumber(payload));
            break;
        }
        using HttpResponseMessage deleted = await silo.Http.DeleteAsync($"/v1/completions/{id}");
        Assert.Equal(HttpStatusCode.OK, deleted.StatusCode);
        (HttpStatusCode status, _) = await silo.GetAsync($"/v1/completions/{id}");
        Assert.Equal(HttpStatusCode.NotFound, status);
    }

    [Fact]
    public async Task AFullQueue_Answers503WithRetryAfter_AndTheOthersFinish()
    {
        using SiloProcess silo = await Silos.LaunchAsync("--max-num-seqs", "1", "--max-queued-requests", "2");
        Task<HttpResponseMessage>[] posts = [.. Enumerable.Range(0, 12).Select(i =>
        {
            JsonObject request = Request(i);
            request["max_tokens"] = 300;
            request["ignore_eos"] = true;
            return silo.Http.PostAsync("/v1/completions", System.Net.Http.Json.JsonContent.Create(request));
        })];
        HttpResponseMessage[] answers = await Task.WhenAll(posts);
        HttpResponseMessage[] refused = [.. answers.Where(answer => answer.StatusCode == HttpStatusCode.ServiceUnavailable)];
        Assert.InRange(refused.Length, 1, 10);
        Assert.All(refused, answer => Assert.True(answer.Headers.RetryAfter?.Delta > TimeSpan.Zero));
        Assert.All(answers.Except(refused), answer => Assert.Equal(HttpStatusCode.OK, answer.StatusCode));
        JsonNode error = JsonNode.Parse(await refused[0].Content.ReadAsStringAsync())!["error"]!;
        Assert.Equal(["code", "message", "param", "type"], error.AsObject().Select(member => member.Key).Order());
    }

    private static JsonObject Request(int index) => new()
    {
        ["model"] = Model,
        ["prompt"] = $"{index + 2} apples and {index * 3 + 1} pears are",
        ["max_tokens"] = 24 + index % 9,
        ["temperature"] = index % 3 == 0 ? 0 : 1,
        ["seed"] = index,
        ["return_token_ids"] = true,
    };

    private static async Task Eventually(Func<Task<bool>> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while (!await condition())
        {
            limit.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }
}
