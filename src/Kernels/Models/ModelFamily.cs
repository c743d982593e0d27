namespace Cluster.Kernels.Models;

/// <summary>Which layers of a family use the sliding window when config.json has no <c>layer_types</c>.</summary>
internal enum WindowRule
{
    /// <summary>All, whenever a window is given (Mistral, Mixtral, Qwen3-MoE).</summary>
    AllLayers,

    /// <summary>Those from <c>max_window_layers</c> on (Qwen2, Qwen3).</summary>
    UpperLayers,

    /// <summary>Even ones below <c>max_window_layers</c> (Qwen2-MoE).</summary>
    AlternateLowerLayers,
}

/// <summary>
/// What distinguishes one supported architecture from the next, as data: one record per architecture drives one decoder.
/// Defaults are those of the architecture's configuration class in huggingface/transformers.
/// </summary>
internal sealed record ModelFamily
{
    /// <summary><c>model_type</c> of config.json.</summary>
    public required string ModelType { get; init; }

    /// <summary>Entry of <c>architectures</c>.</summary>
    public required string Architecture { get; init; }

    /// <summary>Whether q, k and v have a bias when config.json does not say.</summary>
    public bool QkvBias { get; init; }

    /// <summary>Key that overrides <see cref="QkvBias"/>, or null.</summary>
    public string? QkvBiasKey { get; init; }

    /// <summary>Whether the same key also gives the attention output a bias.</summary>
    public bool OutputBiasFollows { get; init; }

    /// <summary>Whether <c>mlp_bias</c> is read.</summary>
    public bool ReadsMlpBias { get; init; }

    /// <summary>Whether q and k are normalised per head before rotary embedding.</summary>
    public bool HeadNorms { get; init; }

    /// <summary>KV heads when the key is missing; null = as many as query heads.</summary>
    public int? DefaultKvHeads { get; init; }

    /// <summary>Head dimension when the key is missing; null = hidden / heads.</summary>
    public int? DefaultHeadDim { get; init; }

    /// <summary>Norm epsilon when the key is missing.</summary>
    public double DefaultEpsilon { get; init; } = 1e-6;

    /// <summary>Rotary base when the key is missing.</summary>
    public double DefaultTheta { get; init; } = 10_000;

    /// <summary>Whether the family has a sliding window at all.</summary>
    public bool HasWindow { get; init; }

    /// <summary>Window when a switched family does not say.</summary>
    public int? DefaultWindow { get; init; }

    /// <summary>Whether <c>use_sliding_window</c> must be true for the window to count.</summary>
    public bool WindowNeedsSwitch { get; init; }

    /// <summary>Layers that use the window.</summary>
    public WindowRule WindowRule { get; init; }

    /// <summary>How experts are described and named, or null for a dense family.</summary>
    public ExpertFamily? Experts { get; init; }

    /// <summary>Everything that is served.</summary>
    public static IReadOnlyList<ModelFamily> All { get; } =
    [
        new() { ModelType = "llama", Architecture = "LlamaForCausalLM", QkvBiasKey = "attention_bias", OutputBiasFollows = true, ReadsMlpBias = true },
        new() { ModelType = "mistral", Architecture = "MistralForCausalLM", DefaultKvHeads = 8, HasWindow = true },
        Qwen2("qwen2", "Qwen2ForCausalLM") with { DefaultKvHeads = 32 },
        Qwen3("qwen3", "Qwen3ForCausalLM") with { DefaultKvHeads = 32, DefaultHeadDim = 128 },
        new()
        {
            ModelType = "mixtral", Architecture = "MixtralForCausalLM", DefaultKvHeads = 8, DefaultEpsilon = 1e-5, DefaultTheta = 1e6, HasWindow = true,
            Experts = ExpertFamily.Mixtral,
        },
        Qwen2("qwen2_moe", "Qwen2MoeForCausalLM") with
        {
            DefaultKvHeads = 16, QkvBiasKey = "qkv_bias", WindowRule = WindowRule.AlternateLowerLayers, Experts = ExpertFamily.Qwen with { SharedExpert = true },
        },
        Qwen3("qwen3_moe", "Qwen3MoeForCausalLM") with { DefaultKvHeads = 4, WindowRule = WindowRule.AllLayers, Experts = ExpertFamily.Qwen },
    ];

    /// <summary>Names for messages.</summary>
    public static IReadOnlyList<string> SupportedNames { get; } = [.. All.Select(family => family.ModelType)];

    private static ModelFamily Qwen2(string type, string architecture) => new()
    {
        ModelType = type, Architecture = architecture, QkvBias = true,
        HasWindow = true, DefaultWindow = 4096, WindowNeedsSwitch = true, WindowRule = WindowRule.UpperLayers,
    };

    private static ModelFamily Qwen3(string type, string architecture) => Qwen2(type, architecture) with
    {
        QkvBias = false, QkvBiasKey = "attention_bias", OutputBiasFollows = true, HeadNorms = true,
    };
}

/// <summary>How a family with experts describes and names them.</summary>
/// <param name="Block">Name of the block inside a layer.</param>
/// <param name="Gate">Tensor of an expert that is activated.</param>
/// <param name="Up">Tensor of an expert that it is multiplied with.</param>
/// <param name="Down">Tensor of an expert that leads back.</param>
/// <param name="WidthKey">Key of the experts' intermediate size.</param>
/// <param name="AlwaysRenormalise">Whether factors always sum to one; else <c>norm_topk_prob</c> says.</param>
/// <param name="MixesDense">Whether <c>decoder_sparse_step</c> and <c>mlp_only_layers</c> can make layers dense.</param>
internal sealed record ExpertFamily(string Block, string Gate, string Up, string Down, string WidthKey, bool AlwaysRenormalise, bool MixesDense)
{
    /// <summary>Whether every expert layer also has one expert that all tokens visit.</summary>
    public bool SharedExpert { get; init; }

    /// <summary>Mixtral's names.</summary>
    public static ExpertFamily Mixtral { get; } = new("block_sparse_moe", "w1", "w3", "w2", "intermediate_size", AlwaysRenormalise: true, MixesDense: false);

    /// <summary>Qwen's names.</summary>
    public static ExpertFamily Qwen { get; } = new("mlp", "gate_proj", "up_proj", "down_proj", "moe_intermediate_size", AlwaysRenormalise: false, MixesDense: true);
}
