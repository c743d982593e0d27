using System.Text.Json.Nodes;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.TestKit;
using Cluster.TestKit.Processes;
using CsCheck;

namespace Cluster.Kernels.Tests.Models;

public sealed class ModelConfigTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Checkpoints => [.. ConformanceCheckpoint.Names];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public void Both_spellings_mean_the_same(string name)
    {
        string folder = SharedData.InRepository("tests", "Checkpoints", name);
        ModelConfig old = ModelConfig.Load(folder);
        File.Copy(Path.Combine(folder, "config.v5.json"), _folder.File("config.json"));
        ModelConfig renewed = ModelConfig.Load(_folder.Path);
        Assert.Equal(old.Layers, renewed.Layers);
        Assert.Equal(old.EndTokens, renewed.EndTokens);
        Assert.Equal(old with { Layers = renewed.Layers, EndTokens = renewed.EndTokens }, renewed);
    }

    [Fact]
    public void Head_dimension_is_given_or_derived()
    {
        Assert.Equal(12, Load("llama").HeadDim);
        Assert.Equal(16, Load("llama", c => c["head_dim"] = 16).HeadDim);
        Assert.Equal(12, Load("llama", c => c["head_dim"] = null).HeadDim);
        Assert.Equal(128, Load("qwen3", c => c.Remove("head_dim")).HeadDim);
        AssertRefused("num_attention_heads", "7", "llama", c => c["num_attention_heads"] = 7, c => c["num_key_value_heads"] = 7);
        AssertRefused("head_dim", "9", "llama", c => c["head_dim"] = 9);
    }

    [Fact]
    public void Biases_follow_family_and_keys()
    {
        static (bool, bool, bool) Biases(ModelConfig config) => (config.QkvBias, config.OutputBias, config.MlpBias);
        Assert.Equal((false, false, false), Biases(Load("llama")));
        Assert.Equal((true, true, true), Biases(Load("llama", c => c["attention_bias"] = true, c => c["mlp_bias"] = true)));
        Assert.Equal((true, false, false), Biases(Load("qwen2")));
        Assert.Equal((true, true, false), Biases(Load("qwen3", c => c["attention_bias"] = true)));
        Assert.Equal((false, false, false), Biases(Load("mistral", c => c["attention_bias"] = true)));
        Assert.Equal((true, false, false), Biases(Load("qwen2_moe")));
        Assert.Equal((false, false, false), Biases(Load("qwen2_moe", c => c["qkv_bias"] = false)));
    }

    [Fact]
    public void Sliding_windows_follow_family_switch_and_layer_types()
    {
        static int[] Windows(ModelConfig config) => [.. config.Layers.Select(layer => layer.Window)];
        Assert.Equal([0, 0, 0], Windows(Load("mistral")));
        Assert.Equal([24, 24, 24], Windows(Load("mistral", c => c["sliding_window"] = 24)));
        Assert.Equal([0, 0, 0], Windows(Load("llama", c => c["sliding_window"] = 24)));
        Assert.Equal([0, 0, 0], Windows(Load("qwen2")));
        Assert.Equal([0, 0, 16], Windows(Load("qwen2", c => c["use_sliding_window"] = true)));
        Assert.Equal([16, 0, 16], Windows(Load("qwen2", c => c["use_sliding_window"] = true,
            c => c["layer_types"] = new JsonArray("sliding_attention", "full_attention", "sliding_attention"))));
        Assert.Equal([16, 0, 0], Windows(Load("qwen2_moe", c => c["use_sliding_window"] = true)));
        Assert.Equal([8, 8, 8], Windows(Load("qwen3_moe", c => c["use_sliding_window"] = true, c => c["sliding_window"] = 8)));
        AssertRefused("layer_types", "1 entries", "qwen2", c => c["layer_types"] = new JsonArray("full_attention"));
        AssertRefused("layer_types", "chunked_attention", "qwen2", c => c["layer_types"] = new JsonArray("full_attention", "full_attention", "chunked_attention"));
        AssertRefused("sliding_window", "missing or switched off", "qwen2", c => c["layer_types"] = new JsonArray("sliding_attention", "full_attention", "full_attention"));
    }

    [Fact]
    public void Expert_layers_follow_step_and_list()
    {
        static bool[] Sparse(ModelConfig config) => [.. config.Layers.Select(layer => layer.HasExperts)];
        Assert.Equal([true, true, true], Sparse(Load("mixtral")));
        Assert.Equal([false, true, false], Sparse(Load("qwen2_moe", c => c["decoder_sparse_step"] = 2)));
        Assert.Equal([true, false, true], Sparse(Load("qwen3_moe", c => c["mlp_only_layers"] = new JsonArray(1))));
        Assert.Equal(new ExpertSettings(9, 3, 12, false, 44), Load("qwen2_moe").Experts);
        Assert.Equal(new ExpertSettings(8, 2, 18, true, 0), Load("mixtral").Experts);
        AssertRefused("num_experts_per_tok", "11", "qwen3_moe", c => c["num_experts_per_tok"] = 11);
        AssertRefused("mlp_only_layers", "3", "qwen3_moe", c => c["mlp_only_layers"] = new JsonArray(3));
    }

    [Fact]
    public void End_tokens_are_one_a_list_or_none()
    {
        Assert.Equal([2], Load("llama").EndTokens);
        Assert.Equal([2, 5, 6], Load("llama", c => c["eos_token_id"] = new JsonArray(2, 5, 6)).EndTokens);
        Assert.Empty(Load("llama", c => c["eos_token_id"] = null).EndTokens);
        AssertRefused("eos_token_id", "307", "llama", c => c["eos_token_id"] = 307);
    }

    [Fact]
    public void Stored_type_is_read_in_both_spellings()
    {
        Assert.Equal(DType.BFloat16, Load("llama_bf16").StoredType);
        Assert.Equal(DType.Float16, Load("llama", c => c.Remove("torch_dtype"), c => c["dtype"] = "float16").StoredType);
        AssertRefused("torch_dtype", "int8", "llama", c => c["torch_dtype"] = "int8");
    }

    [Theory]
    [InlineData("deepseek_v3", "DeepseekV3ForCausalLM")]
    [InlineData("phi3", "Phi3ForCausalLM")]
    [InlineData("gemma2", "Gemma2ForCausalLM")]
    [InlineData("gpt_oss", "GptOssForCausalLM")]
    public void Other_architectures_are_refused_by_name(string type, string architecture)
    {
        var error = Assert.Throws<UnsupportedArchitectureException>(() => Load("llama", c => c["model_type"] = type, c => c["architectures"] = new JsonArray(architecture)));
        Assert.Contains(type, error.Message);
        Assert.Contains(architecture, error.Message);
        Assert.Equal(["llama", "mistral", "qwen2", "qwen3", "mixtral", "qwen2_moe", "qwen3_moe"], error.Supported);
        Assert.Throws<UnsupportedArchitectureException>(() => Load("llama", c => c.Remove("model_type"), c => c["architectures"] = new JsonArray(architecture)));
    }

    [Fact]
    public void A_model_without_language_head_is_refused()
    {
        var error = Assert.Throws<UnsupportedArchitectureException>(() => Load("llama", c => c["architectures"] = new JsonArray("LlamaForSequenceClassification")));
        Assert.Equal("LlamaForSequenceClassification", error.Architecture);
        Assert.Equal("llama", Load("llama", c => c.Remove("model_type")).ModelType);
        Assert.Equal("llama", Load("llama", c => c.Remove("architectures")).ModelType);
    }

    public static TheoryData<string, string> HostileFields => new()
    {
        { "hidden_size", "0" }, { "hidden_size", "-72" }, { "hidden_size", "999999999999" }, { "hidden_size", "\"72\"" }, { "hidden_size", "72.5" }, { "hidden_size", "null" },
        { "hidden_size", "[72]" }, { "num_attention_heads", "0" }, { "num_key_value_heads", "0" }, { "num_key_value_heads", "4" }, { "num_hidden_layers", "2000000000" },
        { "vocab_size", "2147483648" }, { "vocab_size", "0" }, { "intermediate_size", "1e30" }, { "max_position_embeddings", "0" }, { "rms_norm_eps", "0" },
        { "rms_norm_eps", "-1e-5" }, { "rms_norm_eps", "1e999" }, { "rms_norm_eps", "\"NaN\"" }, { "rope_theta", "0" }, { "rope_theta", "true" }, { "tie_word_embeddings", "1" },
        { "hidden_act", "\"gelu\"" }, { "model_type", "7" }, { "architectures", "\"LlamaForCausalLM\"" }, { "quantization_config", "{\"quant_method\":\"fp8\"}" },
        { "rope_scaling", "3" }, { "attention_bias", "\"no\"" }, { "eos_token_id", "-1" }, { "eos_token_id", "[[2]]" }, { "torch_dtype", "16" }, { "partial_rotary_factor", "0.5" },
    };

    [Theory]
    [MemberData(nameof(HostileFields))]
    public void A_hostile_field_is_refused_by_name(string field, string value)
    {
        CheckpointFormatException error = Assert.ThrowsAny<CheckpointFormatException>(() => Load("llama", c => c[field] = JsonNode.Parse(value)));
        Assert.Equal(("config.json", field), (error.File, error.Field));
        Assert.NotEmpty(error.Limit);
        Assert.NotEmpty(error.Actual);
    }

    [Theory]
    [InlineData("{", "line 1")]
    [InlineData("{\n\"model_type\": \"llama\",\n\"rms_norm_eps\": NaN\n}", "line 3")]
    [InlineData("{\"model_type\":\"llama\",\"model_type\":\"qwen2\"}", "line 1")]
    [InlineData("{\"model_type\":\"\\ud800\"}", "text")]
    [InlineData("[]", "file")]
    [InlineData("{}", "model_type")]
    public void A_text_that_is_no_configuration_is_refused(string text, string field)
    {
        File.WriteAllText(_folder.File("config.json"), text);
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => ModelConfig.Load(_folder.Path));
        Assert.Equal(field, error.Field);
        Assert.True(!text.Contains("NaN") || error.Actual.Contains("rms_norm_eps"));
    }

    [Fact]
    public void A_missing_or_enormous_file_is_refused()
    {
        Assert.Equal("file", Assert.Throws<CheckpointFormatException>(() => ModelConfig.Load(_folder.Path)).Field);
        File.WriteAllBytes(_folder.File("config.json"), new byte[(4 << 20) + 1]);
        Assert.Equal("at most 4194304 bytes", Assert.Throws<CheckpointFormatException>(() => ModelConfig.Load(_folder.Path)).Limit);
    }

    [Fact]
    public void Changed_bytes_give_a_configuration_or_a_typed_error()
    {
        byte[] whole = File.ReadAllBytes(SharedData.InRepository("tests", "Checkpoints", "qwen2_moe", "config.v5.json"));
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Byte).Array[1, 5].Sample(changes =>
        {
            byte[] bytes = [.. whole];
            foreach ((int index, byte value) in changes)
                bytes[index] = value;
            File.WriteAllBytes(_folder.File("config.json"), bytes);
            try
            {
                Assert.InRange(ModelConfig.Load(_folder.Path).Layers.Count, 1, 4096);
            }
            catch (CheckpointFormatException)
            {
                // The other good outcome.
            }
        }, iter: 2000, threads: 1);
    }

    private ModelConfig Load(string checkpoint, params ReadOnlySpan<Action<JsonObject>> changes)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(SharedData.InRepository("tests", "Checkpoints", checkpoint, "config.json")))!.AsObject();
        foreach (Action<JsonObject> change in changes)
            change(config);
        File.WriteAllText(_folder.File("config.json"), config.ToJsonString());
        return ModelConfig.Load(_folder.Path);
    }

    private void AssertRefused(string field, string actual, string checkpoint, params Action<JsonObject>[] changes)
    {
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => Load(checkpoint, changes));
        Assert.Equal((field, actual), (error.Field, error.Actual));
    }
}
