using System.Net;
using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Clusters;

/// <summary>Silos join, are drained, and models sleep.</summary>
public sealed class ElasticityTests
{
    private const string Model = "llama";
    private static readonly string[] Declaring = ["--model", SharedData.InRepository("tests", "Checkpoints", Model)];
    private static readonly string[] Flags = ["--devices", "cpu:0/1", "--kv-cache-memory-bytes", "8MiB", "--idle-timeout", "2"];

    [Fact]
    public async Task ASiloJoinsUnderLoad_AndADrainedOneHandsOver_NobodyNotices()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(Silos.Program, 2, Declaring, Flags);
        await cluster.WaitForReplicasAsync(Model, 2);
        var load = new StreamLoad(cluster, Model, workers: 8, maxTokens: 200);
        await load.LearnAsync();
        load.Start();
        await cluster.AddAsync();
        await cluster.WaitForReplicasAsync(Model, 3);
        SiloProcess drained = cluster.Silos[0];
        await cluster.DrainAsync(drained);
        await cluster.WaitAsync(
            topology => topology["replicas"]!.AsArray().All(replica => replica!["shards"]!.AsArray().All(shard => (string)shard!["silo"]! != SiloCluster.NameOf(drained))),
            "no shards on the drained silo");
        await load.MoreAsync(8);
        await load.EndAsync();
        Assert.Equal(0, load.Resumes);
    }

    [Fact]
    public async Task AModelScaledToZero_StaysListed_AndTheFirstRequestWakesIt()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(Silos.Program, 2, Declaring, Flags);
        await cluster.ScaleAsync(Model, new JsonObject { ["replicas"] = 0 });
        await cluster.WaitForReplicasAsync(Model, 0);
        foreach (SiloProcess silo in cluster.Silos)
            Assert.Contains("\"llama\"", (await silo.GetAsync("/v1/models")).Text, StringComparison.Ordinal);
        int[][] tokens = await Completions.TokensAsync(cluster.Silos[1], Completions.Greedy(Model, [3, 4, 5], 20));
        Assert.Equal(20, tokens[0].Length);
        await cluster.WaitForReplicasAsync(Model, 0); // It falls asleep again.
    }

    [Fact]
    public async Task WrongScales_AreRefusedWithTheLimit()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(Silos.Program, 1, Declaring, Flags);
        (string Body, string Message)[] wrong =
        [
            ("""{"tensor_parallel_size": 7}""", "tensor_parallel_size: must be 1..6 (the model's query heads), got 7."),
            ("""{"pipeline_parallel_size": 4}""", "pipeline_parallel_size: must be 1..3 (the model's layers), got 4."),
            ("""{"replicas": -1}""", "replicas: must be 0..4096, got -1."),
            ("""{"replica": 1}""", "Unknown field 'replica'"),
            ("""{"replicas": "many"}""", "replicas: must be a whole number or \"auto\", got \"many\"."),
            ("[", "not valid JSON"),
        ];
        foreach ((string body, string message) in wrong)
        {
            using HttpResponseMessage response = await cluster.Silos[0].Http.PutAsync($"/admin/models/{Model}", new StringContent(body));
            string text = await response.Content.ReadAsStringAsync();
            Assert.True(response.StatusCode == HttpStatusCode.BadRequest, text);
            Assert.Contains(message, (string)JsonNode.Parse(text)!["error"]!["message"]!, StringComparison.Ordinal);
        }

        using HttpResponseMessage unknown = await cluster.Silos[0].Http.PutAsync("/admin/models/nobody", new StringContent("{}"));
        Assert.Equal(HttpStatusCode.NotFound, unknown.StatusCode);
        using HttpResponseMessage noSilo = await cluster.Silos[0].Http.PostAsync("/admin/silos/nobody/drain", null);
        Assert.Equal(HttpStatusCode.BadRequest, noSilo.StatusCode);
    }
}
