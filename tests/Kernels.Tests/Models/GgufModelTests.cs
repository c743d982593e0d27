using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Models.Gguf;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Models;

/// <summary>The same model from a GGUF file and from its folder.</summary>
public sealed class GgufModelTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Checkpoints => [.. ConformanceCheckpoint.Names];

    public void Dispose() => _folder.Dispose();

    /// <summary>Logits are the same bits. Llama 3.1's frequencies pass through fp32 divisors in GGUF, so there they are close.</summary>
    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Logits_equal_those_of_the_folder(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        string file = Export(checkpoint.Folder, ModelConfig.Load(checkpoint.Folder).StoredType == DType.BFloat16 ? "BF16" : "F32");
        foreach (string path in (string[])[file, _folder.Path])
        {
            float[][] expected = await LogitsAsync(checkpoint.Folder, checkpoint.Prompt("p33").Ids);
            float[][] actual = await LogitsAsync(path, checkpoint.Prompt("p33").Ids);
            for (int row = 0; row < expected.Length; row++)
            {
                if (name == "llama31")
                    Assert.True(Distance(expected[row], actual[row]) < 1e-5, $"row {row}: {Distance(expected[row], actual[row])}");
                else
                    Assert.Equal(expected[row], actual[row]);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public void Configuration_equals_the_folders(string name)
    {
        string source = SharedData.InRepository("tests", "Checkpoints", name);
        ModelConfig expected = ModelConfig.Load(source), actual = ModelConfig.Load(Export(source, "F16"));
        Assert.Equal(Numbers(expected), Numbers(actual));
        Assert.Equal(expected.Layers, actual.Layers);
        Assert.Equal(expected.Experts, actual.Experts);
        // Without a window Mistral is a Llama.
        Assert.Equal(name == "mistral" ? "llama" : expected.ModelType, actual.ModelType);
        Assert.Equal(expected.ContextLength, actual.ContextLength);
        Assert.Equal((float)expected.Rope.Theta, (float)actual.Rope.Theta);
    }

    [Fact]
    public void A_window_of_llama_is_read()
    {
        string source = _folder.File("windowed");
        Directory.CreateDirectory(source);
        CheckpointCopy.WithConfig("mistral", source, config => config["sliding_window"] = 7);
        ModelConfig config = ModelConfig.Load(Export(source, "F32"));
        Assert.Equal("mistral", config.ModelType);
        Assert.All(config.Layers, layer => Assert.Equal(7, layer.Window));
    }

    [Theory]
    [InlineData("Q8_0", 0.03)]
    [InlineData("Q4_0", 0.4)]
    public async Task Quantised_files_are_close(string type, double tolerance)
    {
        string bundled = SharedData.InRepository("models", "cluster-demo");
        int[] prompt = [.. Enumerable.Range(300, 40)];
        float[][] expected = await LogitsAsync(bundled, prompt), actual = await LogitsAsync(Export(bundled, type), prompt);
        Assert.InRange(Distance(expected[^1], actual[^1]), 1e-6, tolerance);
    }

    /// <summary>What the silo does to a checkpoint is what the blocks of a file say: the same numbers, so the same logits.</summary>
    [Fact]
    public async Task Quantising_at_load_equals_a_file_of_the_same_blocks()
    {
        string bundled = SharedData.InRepository("models", "cluster-demo");
        int[] prompt = [.. Enumerable.Range(300, 20)];
        float[][] expected = await LogitsAsync(bundled, prompt, WeightQuantization.Int8);
        // The embedding rows of the file are quantised as well; those of the folder are not.
        float[][] actual = await LogitsAsync(Export(bundled, "Q8_0"), prompt);
        Assert.InRange(Distance(expected[^1], actual[^1]), 0, 0.02);
    }

    [Theory]
    [InlineData(WeightQuantization.Int8, 0.03)]
    [InlineData(WeightQuantization.Int4, 0.4)]
    public async Task Quantisation_at_load_is_close(WeightQuantization quantization, double tolerance)
    {
        string bundled = SharedData.InRepository("models", "cluster-demo");
        int[] prompt = [.. Enumerable.Range(300, 40)];
        float[][] expected = await LogitsAsync(bundled, prompt), actual = await LogitsAsync(bundled, prompt, quantization);
        Assert.InRange(Distance(expected[^1], actual[^1]), 1e-6, tolerance);
    }

    [Theory]
    [InlineData("qwen2_moe")]
    [InlineData("mixtral")]
    public async Task Weights_without_whole_groups_are_kept_and_named(string name)
    {
        string folder = SharedData.InRepository("tests", "Checkpoints", name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(folder, quantization: WeightQuantization.Int8);
        Assert.Contains(shard.Engine.KeptWeights, kept => kept.Contains("experts", StringComparison.Ordinal));
        Assert.DoesNotContain(shard.Engine.KeptWeights, kept => kept.Contains("q_proj", StringComparison.Ordinal));
        float[][] expected = await LogitsAsync(folder, [5, 6, 7]), actual = await LogitsAsync(folder, [5, 6, 7], WeightQuantization.Int8);
        Assert.InRange(Distance(expected[^1], actual[^1]), 1e-6, 0.1);
    }

    [Fact]
    public async Task A_quantised_file_is_not_quantised_again()
    {
        string file = Export(SharedData.InRepository("models", "cluster-demo"), "Q4_0");
        ShardSpecException error = await Assert.ThrowsAsync<ShardSpecException>(() => LoadedShard.OpenAsync(file, quantization: WeightQuantization.Int8));
        Assert.Equal("Quantization", error.Field);
        Assert.Contains("quantised already", error.Message);
    }

    [Fact]
    public void A_folder_of_several_files_must_be_told_which()
    {
        foreach (string name in (string[])["a.gguf", "b.gguf"])
            File.WriteAllBytes(_folder.File(name), [0]);
        Assert.Contains("a.gguf, b.gguf", Assert.Throws<CheckpointFormatException>(() => Checkpoint.FindGguf(_folder.Path)).Message);
    }

    [Fact]
    public void The_index_tells_files_apart()
    {
        string source = SharedData.InRepository("models", "cluster-demo");
        CheckpointIndex folder = Checkpoint.ReadIndex(source), wide = Checkpoint.ReadIndex(Export(source, "BF16")), narrow = Checkpoint.ReadIndex(Export(source, "Q8_0"));
        Assert.Equal((folder.Parameters, false, true), (wide.Parameters, wide.IsQuantized, narrow.IsQuantized));
        Assert.Equal(3, new[] { folder, wide, narrow }.Select(index => Convert.ToHexString(index.Digest)).Distinct().Count());
        Assert.Equal(("BF16", "BFloat16", "Q8_0"), (folder.Types, wide.Types, narrow.Types));
    }

    private static object Numbers(ModelConfig config) => (config.VocabularySize, config.HiddenSize, config.IntermediateSize, config.QueryHeads, config.KvHeads, config.HeadDim,
        config.NormEpsilon, (config.TiedEmbeddings, config.QkvBias, config.OutputBias, config.MlpBias));

    private static async Task<float[][]> LogitsAsync(string path, int[] tokens, WeightQuantization quantization = WeightQuantization.None)
    {
        await using LoadedShard shard = await LoadedShard.OpenAsync(path, quantization: quantization);
        return await shard.LogitsAsync((new TestSequence(tokens, LoadedShard.Blocks(tokens.Length)), tokens.Length));
    }

    // Root mean square of the difference, relative to the logits' own.
    private static double Distance(float[] expected, float[] actual)
    {
        double difference = 0, size = 0;
        for (int i = 0; i < expected.Length; i++)
            (difference, size) = (difference + Math.Pow((double)expected[i] - actual[i], 2), size + Math.Pow(expected[i], 2));
        return Math.Sqrt(difference / size);
    }

    private string Export(string source, string type)
    {
        string file = _folder.File("model.gguf");
        GgufExports.Write(source, file, type);
        return file;
    }
}
