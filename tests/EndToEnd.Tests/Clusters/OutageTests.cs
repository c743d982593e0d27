using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Clusters;

/// <summary>Redis is gone for ten seconds.</summary>
public sealed class OutageTests
{
    private const string Model = "cluster-demo";
    private const int Choices = 64;
    private static readonly int[] Prompt = [.. Enumerable.Range(40, 24)];

    [Fact]
    public async Task RunningStreamsGoOn_NewSessionsAreRefusedClearly_AndServedAgainAfterwards()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(
            Silos.Program, 2, ["--model", SharedData.InRepository("models", Model), "--data-parallel-size", "1"], "--devices", "cpu:0/1", "--model-wait", "4", "--kv-cache-memory-bytes", "1GiB");
        await cluster.WaitForReplicasAsync(Model, 1);
        int[] expected = (await Completions.TokensAsync(cluster.Silos[0], Completions.Greedy(Model, Prompt, 900)))[0];
        JsonObject request = Completions.Greedy(Model, Prompt, 900);
        request["n"] = Choices;
        var reader = new ResumingReader(cluster, request);
        Task<IReadOnlyList<string>> reading = Task.Run(() => reader.ReadAsync(0));
        await UntilAsync(() => reader.Events.Count > 10 * Choices);

        cluster.Redis.Kill();
        long down = Stopwatch.GetTimestamp();
        await Task.Delay(TimeSpan.FromSeconds(3));
        int during = reader.Events.Count;
        using HttpResponseMessage refused = await cluster.Silos[1].Http.PostAsJsonAsync("/v1/completions", Completions.Greedy(Model, Prompt, 4));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
        Assert.NotNull(refused.Headers.RetryAfter);
        await Task.Delay(TimeSpan.FromSeconds(Math.Max(0, 10 - Stopwatch.GetElapsedTime(down).TotalSeconds)));
        int after = reader.Events.Count;
        await cluster.Redis.StartAsync();

        IReadOnlyList<string> events = await reading;
        Assert.True(after > during, $"no event came while Redis was down ({during} events)");
        Assert.All(Completions.TokensOf(events), tokens => Assert.Equal(expected, tokens));
        Assert.Empty(reader.Cuts);
        await UntilAsync(async () => (await cluster.Silos[1].PostAsync("/v1/completions", Completions.Greedy(Model, Prompt, 4))).Status == HttpStatusCode.OK);
    }

    private static Task UntilAsync(Func<bool> reached) => UntilAsync(() => Task.FromResult(reached()));

    private static async Task UntilAsync(Func<Task<bool>> reached)
    {
        long start = Stopwatch.GetTimestamp();
        while (!await reached())
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(60), "not within a minute");
            await Task.Delay(50);
        }
    }
}
