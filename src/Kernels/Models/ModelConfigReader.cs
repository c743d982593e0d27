using System.Text.Json;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>Turns config.json into a <see cref="ModelConfig"/>; every number is checked before anything is allocated by it.</summary>
internal static class ModelConfigReader
{
    private const int MaxFileBytes = 4 << 20;
    internal const int MaxWidth = 1 << 20;
    internal const int MaxHeads = 4096;
    internal const int MaxLayers = 4096;
    internal const int MaxVocabulary = 1 << 24;
    internal const int MaxPositions = 1 << 27;

    /// <summary>Reads and checks a file.</summary>
    public static ModelConfig Read(string path) => JsonFile.Read(path, MaxFileBytes, element => Read(Path.GetFileName(path), element));

    private static ModelConfig Read(string file, JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw new CheckpointFormatException(file, "file", "a JSON object", element.ValueKind.ToString());
        var root = new ConfigSection(file, "", element);
        ModelFamily family = FindFamily(root);
        RefuseUnserved(root);
        return Build(root, family);
    }

    private static ModelFamily FindFamily(ConfigSection root)
    {
        string? type = root.Text("model_type");
        IReadOnlyList<string> architectures = root.Texts("architectures");
        if (type is null && architectures.Count == 0)
            throw root.Error("model_type", $"one of {string.Join(", ", ModelFamily.SupportedNames)}", "missing");
        ModelFamily? family = ModelFamily.All.FirstOrDefault(known => type is null
            ? architectures.Contains(known.Architecture, StringComparer.OrdinalIgnoreCase)
            : known.ModelType == type);
        if (family is null)
            throw new UnsupportedArchitectureException(root.File, type is null ? "architectures" : "model_type",
                type is null ? architectures[0] : architectures.Count == 0 ? type : $"{type} ({architectures[0]})", ModelFamily.SupportedNames);
        // A classifier or embedding model of a served family has the same model_type and no LM head.
        if (architectures.Count > 0 && !architectures.Contains(family.Architecture, StringComparer.OrdinalIgnoreCase))
            throw new UnsupportedArchitectureException(root.File, "architectures", architectures[0], [family.Architecture]);
        return family;
    }

    private static void RefuseUnserved(ConfigSection root)
    {
        if (root.Section("quantization_config") is { } quantization)
            throw root.Error("quantization_config", "absent (weights in float32, bfloat16 or float16)", quantization.Text("quant_method") ?? "there");
        if (root.Text("hidden_act") is { } activation && activation != "silu")
            throw root.Error("hidden_act", "silu", activation);
        if (root.Number("partial_rotary_factor", 0, 1, 1) != 1)
            throw root.Error("partial_rotary_factor", "1", "a smaller part");
    }

    private static ModelConfig Build(ConfigSection root, ModelFamily family)
    {
        int hidden = root.Integer("hidden_size", 1, MaxWidth);
        int heads = root.Integer("num_attention_heads", 1, MaxHeads);
        int kvHeads = root.Integer("num_key_value_heads", 1, MaxHeads, Math.Min(family.DefaultKvHeads ?? heads, heads));
        if (heads % kvHeads != 0)
            throw root.Error("num_key_value_heads", $"a divisor of num_attention_heads = {heads}", $"{kvHeads}");
        int vocabulary = root.Integer("vocab_size", 1, MaxVocabulary);
        int positions = root.Integer("max_position_embeddings", 1, MaxPositions);
        int layers = root.Integer("num_hidden_layers", 1, MaxLayers);
        bool bias = family.QkvBiasKey is { } key ? root.Flag(key, family.QkvBias) : family.QkvBias;
        RopeSettings rope = RopeSettings.Read(root, family.DefaultTheta, positions);
        ExpertSettings? experts = family.Experts is { } named ? ReadExperts(root, named) : null;
        return new ModelConfig(family)
        {
            VocabularySize = vocabulary,
            HiddenSize = hidden,
            IntermediateSize = root.Integer("intermediate_size", 1, 4 * MaxWidth),
            QueryHeads = heads,
            KvHeads = kvHeads,
            HeadDim = ReadHeadDim(root, family, hidden, heads),
            NormEpsilon = (float)root.Number("rms_norm_eps", 1e-30, 1, family.DefaultEpsilon),
            Rope = rope,
            ContextLength = (int)Math.Min(rope.ContextLength(positions), MaxPositions),
            TiedEmbeddings = root.Flag("tie_word_embeddings", false),
            QkvBias = bias,
            OutputBias = bias && family.OutputBiasFollows,
            MlpBias = family.ReadsMlpBias && root.Flag("mlp_bias", false),
            Layers = ReadLayers(root, family, layers),
            Experts = experts,
            EndTokens = root.Integers("eos_token_id", vocabulary),
            StoredType = ReadStoredType(root),
        };
    }

    private static int ReadHeadDim(ConfigSection root, ModelFamily family, int hidden, int heads)
    {
        int? declared = root.Has("head_dim") ? root.Integer("head_dim", 2, MaxHeads) : root.Mentions("head_dim") ? null : family.DefaultHeadDim;
        if (declared is null && hidden % heads != 0)
            throw root.Error("num_attention_heads", $"a divisor of hidden_size = {hidden} (there is no head_dim)", $"{heads}");
        int headDim = declared ?? hidden / heads;
        return headDim % 2 == 0 ? headDim : throw root.Error("head_dim", "even", $"{headDim}");
    }

    private static ExpertSettings ReadExperts(ConfigSection root, ExpertFamily family)
    {
        string countKey = root.Has("num_experts") ? "num_experts" : "num_local_experts";
        int count = root.Integer(countKey, 1, MaxHeads);
        return new ExpertSettings(
            count,
            root.Integer("num_experts_per_tok", 1, count),
            root.Integer(family.WidthKey, 1, MaxWidth),
            family.AlwaysRenormalise || root.Flag("norm_topk_prob", false),
            family.SharedExpert ? root.Integer("shared_expert_intermediate_size", 1, MaxWidth) : 0);
    }

    private static LayerSettings[] ReadLayers(ConfigSection root, ModelFamily family, int layers)
    {
        Func<int, int> window = WindowOf(root, family, layers);
        Func<int, bool> sparse = _ => family.Experts is not null;
        if (family.Experts is { MixesDense: true })
        {
            int step = root.Integer("decoder_sparse_step", 1, MaxLayers, 1);
            IReadOnlyList<int> dense = root.Integers("mlp_only_layers", layers);
            sparse = layer => (layer + 1) % step == 0 && !dense.Contains(layer);
        }
        return [.. Enumerable.Range(0, layers).Select(layer => new LayerSettings(window(layer), sparse(layer)))];
    }

    private static Func<int, int> WindowOf(ConfigSection root, ModelFamily family, int layers)
    {
        bool on = family.HasWindow && (!family.WindowNeedsSwitch || root.Flag("use_sliding_window", false));
        int fallback = root.Mentions("sliding_window") ? 0 : family.DefaultWindow ?? 0;
        int window = on ? root.Integer("sliding_window", 0, MaxPositions, fallback) : 0;
        IReadOnlyList<string> types = root.Texts("layer_types");
        if (types.Count > 0)
            return WindowOfTypes(root, types, layers, window);
        int bound = root.Integer("max_window_layers", 0, MaxLayers, 28);
        return family.WindowRule switch
        {
            WindowRule.UpperLayers => layer => layer >= bound ? window : 0,
            WindowRule.AlternateLowerLayers => layer => layer % 2 == 0 && layer < bound ? window : 0,
            _ => _ => window,
        };
    }

    private static Func<int, int> WindowOfTypes(ConfigSection root, IReadOnlyList<string> types, int layers, int window)
    {
        if (types.Count != layers)
            throw root.Error("layer_types", $"{layers} entries, as num_hidden_layers says", $"{types.Count} entries");
        if (types.FirstOrDefault(type => type is not ("full_attention" or "sliding_attention")) is { } unknown)
            throw root.Error("layer_types", "full_attention or sliding_attention", unknown);
        if (window == 0 && types.Contains("sliding_attention"))
            throw root.Error("sliding_window", "the window of the sliding_attention layers", "missing or switched off");
        return layer => types[layer] == "sliding_attention" ? window : 0;
    }

    private static DType? ReadStoredType(ConfigSection root) => (root.Text("dtype") ?? root.Text("torch_dtype")) switch
    {
        "float32" => DType.Float32,
        "bfloat16" => DType.BFloat16,
        "float16" => DType.Float16,
        null => null,
        var other => throw root.Error(root.Has("dtype") ? "dtype" : "torch_dtype", "float32, bfloat16 or float16", other),
    };
}
