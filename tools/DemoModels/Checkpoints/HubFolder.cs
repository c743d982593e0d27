using System.Text.Encodings.Web;
using System.Text.Json;
using Cluster.DemoModels.Text;
using Cluster.DemoModels.Training;

namespace Cluster.DemoModels.Checkpoints;

/// <summary>Writes a model as a Hugging Face folder: config, generation config, bf16 weights, tokenizer and chat template.</summary>
internal static class HubFolder
{
    private const string ChatTemplate =
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

    private static readonly JsonSerializerOptions Indented = new()
    {
        WriteIndented = true,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>Writes all files; weights come as a safetensors file of bf16.</summary>
    public static void Write(string folder, TrainableDecoder model, BytePairVocabulary vocabulary)
    {
        Directory.CreateDirectory(folder);
        WriteJson(folder, "config.json", Config(model.Shape));
        WriteJson(folder, "generation_config.json", GenerationConfig());
        WriteJson(folder, "tokenizer.json", TokenizerJson(vocabulary));
        WriteJson(folder, "tokenizer_config.json", TokenizerConfig(model.Shape));
        TensorFile.Write(Path.Combine(folder, "model.safetensors"), Weights(model), bfloat16: true,
            new Dictionary<string, string> { ["format"] = "pt" });
    }

    private static void WriteJson(string folder, string file, object content) =>
        File.WriteAllText(Path.Combine(folder, file), JsonSerializer.Serialize(content, Indented) + "\n");

    private static Dictionary<string, object?> Config(ModelShape shape) => new()
    {
        ["architectures"] = new[] { "LlamaForCausalLM" },
        ["attention_bias"] = false,
        ["attention_dropout"] = 0.0,
        ["bos_token_id"] = BytePairVocabulary.EndOfTextId,
        ["eos_token_id"] = BytePairVocabulary.MessageEndId,
        ["head_dim"] = shape.HeadDim,
        ["hidden_act"] = "silu",
        ["hidden_size"] = shape.Hidden,
        ["initializer_range"] = 0.02,
        ["intermediate_size"] = shape.Intermediate,
        ["max_position_embeddings"] = shape.MaxPositions,
        ["mlp_bias"] = false,
        ["model_type"] = "llama",
        ["num_attention_heads"] = shape.Heads,
        ["num_hidden_layers"] = shape.Layers,
        ["num_key_value_heads"] = shape.KeyValueHeads,
        ["pad_token_id"] = BytePairVocabulary.EndOfTextId,
        ["rms_norm_eps"] = ModelShape.NormEpsilon,
        ["rope_scaling"] = null,
        ["rope_theta"] = ModelShape.RopeTheta,
        ["tie_word_embeddings"] = true,
        ["torch_dtype"] = "bfloat16",
        ["use_cache"] = true,
        ["vocab_size"] = shape.Vocabulary,
    };

    private static Dictionary<string, object> GenerationConfig() => new()
    {
        ["bos_token_id"] = BytePairVocabulary.EndOfTextId,
        ["eos_token_id"] = new[] { BytePairVocabulary.MessageEndId, BytePairVocabulary.EndOfTextId },
        ["pad_token_id"] = BytePairVocabulary.EndOfTextId,
    };

    private static Dictionary<string, object?> AddedToken(int id, string content) => new()
    {
        ["id"] = id,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };

    private static Dictionary<string, object?> TokenizerJson(BytePairVocabulary vocabulary)
    {
        var byteLevel = new Dictionary<string, object>
        {
            ["type"] = "ByteLevel",
            ["add_prefix_space"] = false,
            ["trim_offsets"] = false,
            ["use_regex"] = false,
        };
        var split = new Dictionary<string, object>
        {
            ["type"] = "Split",
            ["pattern"] = new Dictionary<string, string> { ["Regex"] = BytePairVocabulary.SplitPattern },
            ["behavior"] = "Isolated",
            ["invert"] = false,
        };
        return new Dictionary<string, object?>
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = BytePairVocabulary.SpecialTokens.Select((token, id) => AddedToken(id, token)).ToArray(),
            ["normalizer"] = null,
            ["pre_tokenizer"] = new Dictionary<string, object> { ["type"] = "Sequence", ["pretokenizers"] = new[] { split, byteLevel } },
            ["post_processor"] = byteLevel,
            ["decoder"] = byteLevel,
            ["model"] = BytePairModel(vocabulary),
        };
    }

    private static Dictionary<string, object?> BytePairModel(BytePairVocabulary vocabulary)
    {
        string Spell(int id) => id < BytePairVocabulary.FirstByteId
            ? BytePairVocabulary.SpecialTokens[id]
            : ByteAlphabet.Spell(vocabulary.BytesOf(id));
        return new Dictionary<string, object?>
        {
            ["type"] = "BPE",
            ["dropout"] = null,
            ["unk_token"] = null,
            ["continuing_subword_prefix"] = "",
            ["end_of_word_suffix"] = "",
            ["fuse_unk"] = false,
            ["byte_fallback"] = false,
            ["ignore_merges"] = false,
            ["vocab"] = Enumerable.Range(0, vocabulary.Size).ToDictionary(Spell, id => id),
            ["merges"] = vocabulary.Merges.Select(merge => $"{Spell(merge.Left)} {Spell(merge.Right)}").ToArray(),
        };
    }

    private static Dictionary<string, object?> TokenizerConfig(ModelShape shape) => new()
    {
        ["add_bos_token"] = false,
        ["add_prefix_space"] = false,
        ["added_tokens_decoder"] = BytePairVocabulary.SpecialTokens.Select((token, id) => AddedToken(id, token))
            .ToDictionary(token => token["id"]!.ToString()!, token => token.Where(pair => pair.Key != "id").ToDictionary()),
        ["bos_token"] = BytePairVocabulary.EndOfText,
        ["chat_template"] = ChatTemplate,
        ["clean_up_tokenization_spaces"] = false,
        ["eos_token"] = BytePairVocabulary.MessageEnd,
        ["model_max_length"] = shape.MaxPositions,
        ["pad_token"] = BytePairVocabulary.EndOfText,
        ["tokenizer_class"] = "PreTrainedTokenizerFast",
        ["unk_token"] = null,
    };

    private static IEnumerable<NamedTensor> Weights(TrainableDecoder model) => model.Parameters.Select(
        pair => new NamedTensor(pair.Key, pair.Value.shape, pair.Value.data<float>().ToArray()));

    /// <summary>Reads back a model that <see cref="Write"/> wrote.</summary>
    public static TrainableDecoder Read(string folder)
    {
        using JsonDocument config = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "config.json")));
        int Number(string key) => config.RootElement.GetProperty(key).GetInt32();
        var shape = new ModelShape(
            Number("vocab_size"), Number("hidden_size"), Number("num_hidden_layers"), Number("num_attention_heads"),
            Number("num_key_value_heads"), Number("head_dim"), Number("intermediate_size"), Number("max_position_embeddings"));
        var model = new TrainableDecoder(shape, seed: 0);
        foreach (NamedTensor tensor in TensorFile.Read(Path.Combine(folder, "model.safetensors"), out _).Values)
            model.Load(tensor);
        return model;
    }
}
