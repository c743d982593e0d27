using System.Net;
using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Serving;

/// <summary>A real silo with GGUF files and with weights quantised at load.</summary>
public sealed class GgufTests
{
    private const string Question = "Tom has 3 apples and buys 4 more. How many apples does he have?";

    private static string Bundled => SharedData.InRepository("models", "cluster-demo");

    [Fact]
    public async Task AFileAnswersAsItsFolderDoes()
    {
        using var folder = new TemporaryFolder();
        GgufExports.Write(Bundled, folder.File("same.gguf"), "BF16");
        GgufExports.Write(Bundled, folder.File("eight.gguf"), "Q8_0");
        using SiloProcess silo = await Silos.LaunchAsync("--model", Bundled, "--model", folder.File("same.gguf"), "--model", folder.File("eight.gguf"), "--kv-cache-memory-bytes", "16MiB");
        (string expected, double likely) = await AskAsync(silo, "cluster-demo");
        Assert.NotEmpty(expected);
        Assert.Equal((expected, likely), await AskAsync(silo, "same"));
        (string quantised, double close) = await AskAsync(silo, "eight");
        Assert.NotEmpty(quantised);
        Assert.InRange(Math.Abs(close - likely), 1e-9, 0.1);

        (_, string topology) = await silo.GetAsync("/admin/topology");
        Assert.Contains("Q8_0", topology, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("int8", 0.1)]
    [InlineData("int4", 1)]
    public async Task QuantisedAtLoad_TheAnswerStaysClose(string quantization, double tolerance)
    {
        using SiloProcess plain = await Silos.LaunchAsync("--model", Bundled, "--kv-cache-memory-bytes", "16MiB");
        using SiloProcess quantised = await Silos.LaunchAsync(
            "--model", Bundled, "--quantization", quantization, "--devices", "cpu:0/1,cpu:1/1", "--kv-cache-memory-bytes", "16MiB");
        (_, double likely) = await AskAsync(plain, "cluster-demo");
        (string text, double close) = await AskAsync(quantised, "cluster-demo");
        Assert.NotEmpty(text);
        Assert.InRange(Math.Abs(close - likely), 1e-9, tolerance);
        (_, string topology) = await quantised.GetAsync("/admin/topology");
        Assert.Contains(quantization, topology, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("truncated", "bytes of data")]
    [InlineData("big-endian", "little-endian")]
    [InlineData("quantised twice", "--quantization int8: the weights of model")]
    [InlineData("not there", "no such folder or GGUF file")]
    public async Task TheStartEndsWithOneClearError(string damage, string mentions)
    {
        using var folder = new TemporaryFolder();
        string file = folder.File("model.gguf");
        GgufExports.Write(Bundled, file, "Q4_0");
        if (damage == "truncated")
            using (FileStream stream = File.OpenWrite(file))
                stream.SetLength(stream.Length / 2);
        else if (damage == "big-endian")
            using (FileStream stream = File.OpenWrite(file))
            {
                stream.Position = 4;
                stream.Write([0, 0, 0, 3]);
            }
        else if (damage == "not there")
            File.Delete(file);

        using var silo = new SiloProcess(Silos.Program, ["--model", file, .. damage == "quantised twice" ? (string[])["--quantization", "int8"] : []]);
        ChildProcess process = silo.Spawn();
        Assert.Equal(1, await process.WaitForExitAsync(TimeSpan.FromSeconds(60)));
        Assert.Contains(mentions, process.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", process.Output, StringComparison.Ordinal);
    }

    // The text, and the log-probability of its first token.
    private static async Task<(string Text, double First)> AskAsync(SiloProcess silo, string model)
    {
        (HttpStatusCode status, JsonNode body) = await silo.PostAsync("/v1/chat/completions", new JsonObject
        {
            ["model"] = model, ["temperature"] = 0, ["max_tokens"] = 48, ["logprobs"] = true,
            ["messages"] = new JsonArray(new JsonObject { ["role"] = "user", ["content"] = Question }),
        });
        Assert.True(status == HttpStatusCode.OK, body.ToJsonString());
        JsonNode choice = body["choices"]![0]!;
        return ((string)choice["message"]!["content"]!, (double)choice["logprobs"]!["content"]![0]!["logprob"]!);
    }
}
