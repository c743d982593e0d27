using System.Text.Json.Nodes;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Serving;

/// <summary>A model on several devices of one silo is several replicas.</summary>
public sealed class SeveralDevicesTests
{
    [Fact]
    public async Task EveryDeviceServesAReplica_WithTheSameAnswers()
    {
        using SiloProcess one = await Silos.LaunchAsync("--devices", "cpu:0/1");
        using SiloProcess two = await Silos.LaunchAsync("--devices", "cpu:0/1,cpu:1/1");
        string[] expected = await Task.WhenAll(Enumerable.Range(0, 12).Select(i => AnswerAsync(one, i)));
        string[] actual = await Task.WhenAll(Enumerable.Range(0, 12).Select(i => AnswerAsync(two, i)));
        Assert.Equal(expected, actual);
        (_, JsonNode topology) = await TopologyAsync(two);
        JsonNode[] replicas = [.. topology["replicas"]!.AsArray().Select(replica => replica!)];
        Assert.Equal(2, replicas.Length);
        Assert.Equal(["cpu:0", "cpu:1"], replicas.Select(replica => (string)replica["shards"]![0]!["device"]!).Order());
        foreach (JsonNode replica in replicas)
        {
            string engine = ((string)replica["key"]!).Split('/')[^1];
            (_, string metrics) = await two.GetAsync("/metrics");
            Assert.Contains(metrics.Split('\n'), line => line.StartsWith("vllm:generation_tokens_total{", StringComparison.Ordinal)
                && line.Contains($"engine=\"{engine}\"", StringComparison.Ordinal) && !line.EndsWith(" 0", StringComparison.Ordinal));
        }
    }

    private static async Task<(System.Net.HttpStatusCode, JsonNode)> TopologyAsync(SiloProcess silo)
    {
        (System.Net.HttpStatusCode status, string text) = await silo.GetAsync("/admin/topology");
        return (status, JsonNode.Parse(text)!);
    }

    private static async Task<string> AnswerAsync(SiloProcess silo, int request)
    {
        (_, JsonNode body) = await silo.PostAsync("/v1/completions", new JsonObject
        {
            ["model"] = "cluster-demo",
            ["prompt"] = $"Number {request} and",
            ["max_tokens"] = 40,
            ["temperature"] = 0.8,
            ["seed"] = request,
            ["ignore_eos"] = true,
        });
        return (string)body["choices"]![0]!["text"]!;
    }
}
