using Cluster.DemoModels.Gguf;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Torch.Tests.DemoModels;

/// <summary>Exports read back. Pure C#: no libtorch is needed.</summary>
public sealed class GgufTests
{
    private static string Bundled => SharedData.InRepository("models", "cluster-demo");

    // Largest error of an element, relative to the largest magnitude of its block of 32.
    [Theory]
    [InlineData("F16", 1, 1e-3)]
    [InlineData("BF16", 30, 0)]
    [InlineData("Q8_0", 8, 0.5 / 127 + 1e-3)]
    [InlineData("Q4_0", 2, 1.0 / 8 + 1e-3)]
    public void Weights_ComeBack(string typeName, uint ggmlType, double tolerance)
    {
        using var folder = new TemporaryFolder();
        GgufExport.Write(Bundled, folder.File("model.gguf"), Enum.Parse<GgufType>(typeName));

        var file = new GgufFile(folder.File("model.gguf"));
        ModelConfig config = ModelConfig.Load(Bundled);
        using SafetensorsReader source = SafetensorsReader.Open(Bundled);
        Assert.Equal(2 + 9 * config.Layers.Count, file.Tensors.Count);
        (string, string)[] pairs =
        [
            ("token_embd", "model.embed_tokens"), ("blk.0.attn_v", "model.layers.0.self_attn.v_proj"),
            ("blk.7.ffn_down", "model.layers.7.mlp.down_proj"), ("blk.3.attn_output", "model.layers.3.self_attn.o_proj"),
        ];
        foreach ((string ours, string theirs) in pairs)
        {
            HostTensor tensor = source.Tensor(theirs + ".weight");
            Assert.Equal(ggmlType, file.Tensors[ours + ".weight"].Type);
            Assert.Equal([(ulong)tensor.Columns, (ulong)tensor.Rows], file.Tensors[ours + ".weight"].Shape);
            AssertClose(Values(tensor), file.Read(ours + ".weight"), tolerance);
        }
        Assert.Equal(0u, file.Tensors["blk.2.attn_norm.weight"].Type);
        Assert.Equal(Values(source.Tensor("model.layers.2.input_layernorm.weight")), file.Read("blk.2.attn_norm.weight"));
    }

    /// <summary>ggml's llama rotates neighbours (2i, 2i + 1) where Hugging Face pairs (i, i + half).</summary>
    [Fact]
    public void QueryRows_AreInGgmlOrder()
    {
        using var folder = new TemporaryFolder();
        GgufExport.Write(Bundled, folder.File("model.gguf"), GgufType.BF16);
        ModelConfig config = ModelConfig.Load(Bundled);
        using SafetensorsReader source = SafetensorsReader.Open(Bundled);
        var file = new GgufFile(folder.File("model.gguf"));
        int dim = config.HeadDim, width = config.HiddenSize;
        foreach ((string ours, string theirs, int heads) in ((string, string, int)[])
            [("blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight", config.QueryHeads), ("blk.1.attn_k.weight", "model.layers.1.self_attn.k_proj.weight", config.KvHeads)])
        {
            float[] expected = Values(source.Tensor(theirs)), actual = file.Read(ours);
            for (int head = 0; head < heads; head++)
                for (int i = 0; i < dim / 2; i++)
                    foreach ((int from, int to) in ((int, int)[])[(i, 2 * i), (i + dim / 2, 2 * i + 1)])
                        Assert.Equal(
                            expected.AsSpan((head * dim + from) * width, width), actual.AsSpan((head * dim + to) * width, width));
        }
    }

    [Fact]
    public void TokenizerAndSizes_AreInside()
    {
        using var folder = new TemporaryFolder();
        GgufExport.Write(Bundled, folder.File("model.gguf"), GgufType.Q8_0);
        Dictionary<string, object> values = new GgufFile(folder.File("model.gguf")).Values;
        ModelConfig config = ModelConfig.Load(Bundled);
        Assert.Equal("llama", values["general.architecture"]);
        Assert.Equal((uint)config.HiddenSize, values["llama.embedding_length"]);
        Assert.Equal((uint)config.KvHeads, values["llama.attention.head_count_kv"]);
        Assert.Equal(config.NormEpsilon, values["llama.attention.layer_norm_rms_epsilon"]);
        object[] tokens = (object[])values["tokenizer.ggml.tokens"];
        Assert.Equal(config.VocabularySize, tokens.Length);
        Assert.Equal("<|im_end|>", tokens[(int)(uint)values["tokenizer.ggml.eos_token_id"]]);
        Assert.Equal(3, ((object[])values["tokenizer.ggml.token_type"])[2]);
        Assert.Equal(config.VocabularySize - 256 - 3, ((object[])values["tokenizer.ggml.merges"]).Length);
        Assert.Contains("<|im_start|>", (string)values["tokenizer.chat_template"]);
    }

    /// <summary>llama.cpp asks every file for its tokenizer; one without says so.</summary>
    [Fact]
    public void WithoutTokenizer_TheFileSaysSo()
    {
        using var folder = new TemporaryFolder();
        foreach (string file in (string[])["config.json", "model.safetensors"])
            File.Copy(Path.Combine(Bundled, file), folder.File(file));
        GgufExport.Write(folder.Path, folder.File("model.gguf"), GgufType.F16);
        Dictionary<string, object> values = new GgufFile(folder.File("model.gguf")).Values;
        Assert.Equal("none", values["tokenizer.ggml.model"]);
        Assert.False(values.ContainsKey("tokenizer.ggml.tokens"));
    }

    [Fact]
    public void QuantisedRowsMustBeWholeBlocks()
    {
        using var folder = new TemporaryFolder();
        string source = SharedData.InRepository("tests", "Checkpoints", "llama");   // hidden size 72
        Assert.Contains("no multiple of 32", Assert.Throws<ArgumentException>(() => GgufExport.Write(source, folder.File("x.gguf"), GgufType.Q8_0)).Message);
    }

    [Fact]
    public void ExpertsAreStacked()
    {
        using var folder = new TemporaryFolder();
        GgufExport.Write(SharedData.InRepository("tests", "Checkpoints", "mixtral"), folder.File("x.gguf"), GgufType.F32);
        using SafetensorsReader source = SafetensorsReader.Open(SharedData.InRepository("tests", "Checkpoints", "mixtral"));
        var file = new GgufFile(folder.File("x.gguf"));
        HostTensor expert = source.Tensor("model.layers.1.block_sparse_moe.experts.2.w2.weight");
        float[] stacked = file.Read("blk.1.ffn_down_exps.weight");
        Assert.Equal(Values(expert), stacked[(2 * (int)expert.Length)..(3 * (int)expert.Length)]);
        Assert.Equal([(ulong)expert.Columns, (ulong)expert.Rows, file.Tensors["blk.1.ffn_gate_inp.weight"].Shape[1]], file.Tensors["blk.1.ffn_down_exps.weight"].Shape);
    }

    private static void AssertClose(float[] expected, float[] actual, double tolerance)
    {
        for (int block = 0; block < expected.Length; block += 32)
        {
            float scale = expected.AsSpan(block, 32).ToArray().Select(Math.Abs).Max();
            for (int i = block; i < block + 32; i++)
                Assert.True(Math.Abs(expected[i] - actual[i]) <= tolerance * scale, $"element {i}: {expected[i]} became {actual[i]}, block maximum {scale}");
        }
    }

    private static float[] Values(HostTensor tensor)
    {
        var values = new float[tensor.Length];
        for (int row = 0; row < tensor.Rows; row++)
            tensor.ReadRow(row, values.AsSpan(row * tensor.Columns, tensor.Columns));
        return values;
    }
}
