using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models.Gguf;

/// <summary>Turns the metadata of a GGUF file into a <see cref="ModelConfig"/>, with the same limits as config.json has.</summary>
internal sealed class GgufConfigReader
{
    // Our family by the file's architecture; llama also stands for Mistral and, with experts, for Mixtral.
    private static readonly Dictionary<string, string> Families = new(StringComparer.Ordinal)
    {
        ["llama"] = "llama", ["qwen2"] = "qwen2", ["qwen3"] = "qwen3", ["qwen2moe"] = "qwen2_moe", ["qwen3moe"] = "qwen3_moe",
    };

    private readonly GgufFile _file;
    private readonly GgufFields _fields;
    private readonly string _architecture;

    private GgufConfigReader(GgufFile file)
    {
        (_file, _fields) = (file, file.Fields);
        _architecture = _fields.Text("general.architecture") ?? throw _fields.Error("general.architecture", "there", "missing");
        if (!Families.ContainsKey(_architecture))
            throw new UnsupportedArchitectureException(file.Name, "general.architecture", _architecture, [.. Families.Keys]);
    }

    /// <summary>Reads and checks the metadata.</summary>
    public static ModelConfig Read(GgufFile file) => new GgufConfigReader(file).Read();

    private ModelConfig Read()
    {
        int hidden = Integer("embedding_length", ModelConfigReader.MaxWidth);
        int heads = Integer("attention.head_count", ModelConfigReader.MaxHeads);
        int kvHeads = Integer("attention.head_count_kv", ModelConfigReader.MaxHeads, heads);
        if (heads % kvHeads != 0)
            throw _fields.Error(Key("attention.head_count_kv"), $"a divisor of {heads} heads", $"{kvHeads}");
        int positions = Integer("context_length", ModelConfigReader.MaxPositions);
        int headDim = HeadDim(hidden, heads);
        int vocabulary = Vocabulary();
        RopeSettings rope = GgufRope.Read(_file, _architecture, headDim);
        ExpertSettings? experts = Integer("expert_count", ModelConfigReader.MaxHeads, 0, minimum: 0) is > 0 and int count ? Experts(count) : null;
        // llama.cpp gives the architecture llama no window; the key is read for models that were made with one.
        int window = _architecture == "llama" ? Integer("attention.sliding_window", ModelConfigReader.MaxPositions, 0, minimum: 0) : 0;
        return new ModelConfig(Family(experts is not null, window))
        {
            VocabularySize = vocabulary,
            HiddenSize = hidden,
            IntermediateSize = Integer("feed_forward_length", 4 * ModelConfigReader.MaxWidth),
            QueryHeads = heads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            NormEpsilon = (float)_fields.Number(Key("attention.layer_norm_rms_epsilon"), 1e-30, 1),
            Rope = rope,
            ContextLength = (int)Math.Min(rope.ContextLength(positions), ModelConfigReader.MaxPositions),
            TiedEmbeddings = !_file.Tensors.ContainsKey("output.weight"),
            QkvBias = _file.Tensors.ContainsKey("blk.0.attn_q.bias"),
            OutputBias = _file.Tensors.ContainsKey("blk.0.attn_output.bias"),
            MlpBias = _file.Tensors.ContainsKey("blk.0.ffn_gate.bias"),
            Layers = Layers(window),
            Experts = experts,
            EndTokens = EndTokens(vocabulary),
            StoredType = _file.Tensors.TryGetValue("blk.0.attn_v.weight", out GgufTensor? weight) ? weight.Type : null,
        };
    }

    private ModelFamily Family(bool hasExperts, int window)
    {
        string type = _architecture != "llama" ? Families[_architecture] : hasExperts ? "mixtral" : window > 0 ? "mistral" : "llama";
        ModelFamily family = ModelFamily.All.Single(known => known.ModelType == type);
        return hasExperts == family.Experts is not null ? family : throw _fields.Error(Key("expert_count"), "at least 1", "0");
    }

    private int HeadDim(int hidden, int heads)
    {
        bool hasLength = _fields.Has(Key("attention.key_length"));
        if (!hasLength && hidden % heads != 0)
            throw _fields.Error(Key("attention.head_count"), $"a divisor of embedding_length = {hidden} (there is no attention.key_length)", $"{heads}");
        int headDim = Integer("attention.key_length", ModelConfigReader.MaxHeads, hidden / heads, minimum: 2);
        Equal("attention.value_length", headDim);
        Equal("rope.dimension_count", headDim);
        return headDim % 2 == 0 ? headDim : throw _fields.Error(Key("attention.key_length"), "even", $"{headDim}");
    }

    private void Equal(string name, int headDim)
    {
        int value = Integer(name, ModelConfigReader.MaxHeads, headDim);
        if (value != headDim)
            throw _fields.Error(Key(name), $"{headDim}, the heads' dimension", $"{value}");
    }

    private int Vocabulary()
    {
        if (!_file.Tensors.TryGetValue("token_embd.weight", out GgufTensor? embedding))
            throw new CheckpointFormatException(_file.Name, "tensor token_embd.weight", "there", "missing");
        return embedding.Shape is [long rows and <= ModelConfigReader.MaxVocabulary, _]
            ? (int)rows
            : throw new CheckpointFormatException(_file.Name, "tensor token_embd.weight: shape",
                $"[vocabulary of at most {ModelConfigReader.MaxVocabulary}, embedding_length]", $"[{string.Join(", ", embedding.Shape)}]");
    }

    private ExpertSettings Experts(int count)
    {
        int width = Integer("expert_feed_forward_length", ModelConfigReader.MaxWidth, Width("ffn_gate_exps", ^2) ?? Integer("feed_forward_length", ModelConfigReader.MaxWidth));
        int shared = Width("ffn_gate_shexp", ^2) ?? 0;
        bool renormalise = _fields.Flag(Key("expert_weights_norm"), _architecture != "qwen2moe");
        return new ExpertSettings(count, Integer("expert_used_count", count), width, renormalise, shared);
    }

    // A size of the first layer's tensor of this name.
    private int? Width(string name, Index dimension) => _file.Tensors.Values.FirstOrDefault(tensor =>
        tensor.Name.StartsWith("blk.", StringComparison.Ordinal) && tensor.Name.EndsWith($".{name}.weight", StringComparison.Ordinal) && tensor.Shape.Count >= 2) is { } found
            ? (int)found.Shape[dimension.GetOffset(found.Shape.Count)]
            : null;

    private LayerSettings[] Layers(int window) =>
        [.. Enumerable.Range(0, Integer("block_count", ModelConfigReader.MaxLayers)).Select(layer => new LayerSettings(window, _file.Tensors.ContainsKey($"blk.{layer}.ffn_gate_inp.weight")))];

    private int[] EndTokens(int vocabulary)
    {
        string[] keys = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
        return [.. keys.Where(_fields.Has).Select(key => _fields.Integer(key, 0, vocabulary - 1)).Distinct()];
    }

    private int Integer(string name, int maximum, int? otherwise = null, int minimum = 1) => _fields.Integer(Key(name), minimum, maximum, otherwise);

    private string Key(string name) => $"{_architecture}.{name}";
}
