using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Clusters;

/// <summary>Three silo processes with two devices each: whatever the layout, the tokens are those of one shard.</summary>
public sealed class LayoutTests
{
    private const int MaxTokens = 40;

    [Fact]
    public async Task EveryLayout_GivesTheTokensOfOneShard()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        string[] models = ["llama", "qwen2_moe"];
        string[] declaring = [.. models.SelectMany(model => (string[])["--model", SharedData.InRepository("tests", "Checkpoints", model)]), "--data-parallel-size", "0"];
        using SiloCluster cluster = await SiloCluster.StartAsync(Silos.Program, 3, declaring, "--devices", "cpu:0/1,cpu:1/1", "--kv-cache-memory-bytes", "4MiB");
        foreach (string model in models)
        {
            JsonObject[] requests = Requests(model);
            int[][][]? expected = null;
            foreach ((int tensor, int stages, int replicas) in ((int, int, int)[])[(1, 1, 1), (2, 1, 1), (2, 1, 3), (1, 3, 2), (2, 3, 1), (4, 1, 1), (1, 2, 1)])
            {
                await cluster.ScaleAsync(model, new JsonObject { ["replicas"] = replicas, ["tensor_parallel_size"] = tensor, ["pipeline_parallel_size"] = stages });
                await cluster.WaitForReplicasAsync(model, replicas, tensor * stages);
                int[][][] tokens = await Task.WhenAll(requests.Select((request, i) => Completions.TokensAsync(cluster.Silos[i % 3], request)));
                expected ??= tokens;
                for (int i = 0; i < requests.Length; i++)
                    Assert.True(tokens[i].Zip(expected[i]).All(pair => pair.First.SequenceEqual(pair.Second)), $"{model} TP {tensor} PP {stages} DP {replicas}, request {i}");
            }

            await cluster.ScaleAsync(model, new JsonObject { ["replicas"] = 0 });
            await cluster.WaitForReplicasAsync(model, 0);
        }
    }

    [Fact]
    public async Task Resharding_KeepsStreamsAlive()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(
            Silos.Program, 2, ["--model", SharedData.InRepository("tests", "Checkpoints", "llama"), "--data-parallel-size", "1"], "--devices", "cpu:0/1", "--kv-cache-memory-bytes", "8MiB");
        JsonObject[] requests = [.. Requests("llama")];
        foreach (JsonObject request in requests)
            request["max_tokens"] = 200;
        IReadOnlyList<string>[] undisturbed = await Task.WhenAll(requests.Select((request, i) => new ResumingReader(cluster, request).ReadAsync(i)));

        ResumingReader[] readers = [.. requests.Select(request => new ResumingReader(cluster, request))];
        Task<IReadOnlyList<string>[]> reading = Task.WhenAll(readers.Select((reader, i) => reader.ReadAsync(i)));
        await cluster.ScaleAsync("llama", new JsonObject { ["tensor_parallel_size"] = 2 });
        await cluster.WaitForReplicasAsync("llama", 1, 2);
        await cluster.ScaleAsync("llama", new JsonObject { ["tensor_parallel_size"] = 1 });
        await cluster.WaitForReplicasAsync("llama", 1, 1);
        IReadOnlyList<string>[] events = await reading;
        for (int i = 0; i < requests.Length; i++)
            Assert.Equal(Completions.TokensOf(undisturbed[i]), Completions.TokensOf(events[i]));
        Assert.Empty(readers.SelectMany(reader => reader.Cuts));
    }

    private static JsonObject[] Requests(string model)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(model);
        int[] prompt = checkpoint.Prompt("p33").Ids;
        return
        [
            Completions.Greedy(model, prompt, MaxTokens),
            Completions.Greedy(model, [.. prompt, .. prompt], MaxTokens),
            Completions.Sampled(model, prompt, MaxTokens, choices: 3, seed: 7),
            Completions.Greedy(model, prompt[..5], MaxTokens),
        ];
    }
}
