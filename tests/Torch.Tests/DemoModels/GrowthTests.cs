using System.Text.Json.Nodes;
using Cluster.DemoModels.Growth;
using Cluster.Kernels.Models;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Torch.Tests.DemoModels;

/// <summary>A grown checkpoint computes what it grew from. Pure C#: no libtorch is needed.</summary>
public sealed class GrowthTests
{
    [Theory]
    [InlineData("llama_bf16", 256, 192, 3, 5)]    // the norm factor is 1/2: exact in bf16
    [InlineData("llama_tied", 96, null, null, 3)]  // only wider; the factor is no short number
    [InlineData("qwen3", 80, 224, 4, 7)]           // per-head norms
    [InlineData("llama", null, null, null, 9)]     // only deeper
    public async Task LogitsStay(string name, int? hidden, int? intermediate, int? keyValueHeads, int? layers)
    {
        using var folder = new TemporaryFolder();
        string source = SharedData.InRepository("tests", "Checkpoints", name);

        long parameters = GrownCheckpoint.Write(source, folder.Path, hidden, intermediate, keyValueHeads, layers, seed: 9);

        ModelConfig config = ModelConfig.Load(folder.Path), before = ModelConfig.Load(source);
        Assert.Equal(hidden ?? before.HiddenSize, config.HiddenSize);
        Assert.Equal(layers ?? before.Layers.Count, config.Layers.Count);
        Assert.Equal(keyValueHeads ?? before.KvHeads, config.KvHeads);
        Assert.Equal(before.QueryHeads / before.KvHeads, config.QueryHeads / config.KvHeads);
        Assert.True(parameters > new FileInfo(Path.Combine(folder.Path, "model.safetensors")).Length / 5);
        int[] tokens = [.. Enumerable.Range(0, 40).Select(i => (i * 37 + 11) % config.VocabularySize)];
        float[][] expected = await DecoderProbe.LogitsAsync(source, tokens), actual = await DecoderProbe.LogitsAsync(folder.Path, tokens);
        for (int row = 0; row < expected.Length; row++)
            for (int i = 0; i < expected[row].Length; i++)
                Assert.True(Math.Abs(expected[row][i] - actual[row][i]) <= 1e-4, $"row {row}, token {i}: {expected[row][i]} became {actual[row][i]}");
    }

    /// <summary>New parts are there to cost time: random, not zero, wherever nothing leads into the stream.</summary>
    [Fact]
    public void NewWeights_AreRandom()
    {
        using var folder = new TemporaryFolder();
        GrownCheckpoint.Write(SharedData.InRepository("tests", "Checkpoints", "llama_bf16"), folder.Path, 128, 256, 4, 6, seed: 1);
        using SafetensorsReader grown = SafetensorsReader.Open(folder.Path);
        foreach (string name in (string[])["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"])
        {
            for (int layer = 0; layer < 6; layer++)
            {
                var tensor = grown.Tensor($"model.layers.{layer}.{name}.weight");
                var row = new float[tensor.Columns];
                tensor.ReadRow(tensor.Rows - 1, row);
                Assert.True(row.Distinct().Count() > 20, $"{name} of layer {layer}: the last row is not random");
                Assert.InRange(row.Select(Math.Abs).Max(), 0.01f, 1f);
            }
        }
    }

    [Fact]
    public void Refusals_NameWhatIsWrong()
    {
        var config = (JsonObject)JsonNode.Parse(File.ReadAllText(SharedData.InRepository("tests", "Checkpoints", "llama", "config.json")))!;
        Assert.Contains("hidden_size is 72 and cannot shrink to 64", Assert.Throws<ArgumentException>(() => GrowthPlan.For(config, 64, null, null, null)).Message);
        config["model_type"] = "mixtral";
        Assert.Contains("mixtral", Assert.Throws<ArgumentException>(() => GrowthPlan.For(config, null, null, null, 9)).Message);
    }
}
