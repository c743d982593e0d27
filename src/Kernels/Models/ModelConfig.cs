using Cluster.Kernels.Execution;
using Cluster.Kernels.Models.Gguf;

namespace Cluster.Kernels.Models;

/// <summary>
/// What config.json says about a decoder, checked and completed with its family's defaults. Both spellings are read: the
/// one of transformers 4 (rope_theta, rope_scaling, torch_dtype, num_experts) and that of 5 (rope_parameters, dtype,
/// num_local_experts, layer_types).
/// </summary>
public sealed record ModelConfig
{
    internal ModelConfig(ModelFamily family) => Family = family;

    /// <summary><c>model_type</c>.</summary>
    public string ModelType => Family.ModelType;

    /// <summary>Entry of <c>architectures</c>, such as LlamaForCausalLM.</summary>
    public string Architecture => Family.Architecture;

    /// <summary>Number of token ids.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>Columns of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Columns between gate/up and down of a dense MLP.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>Query heads.</summary>
    public required int QueryHeads { get; init; }

    /// <summary>Key and value heads; divides <see cref="QueryHeads"/>.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Elements per head.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Added to the mean square before the root.</summary>
    public required float NormEpsilon { get; init; }

    /// <summary>Rotary embedding.</summary>
    public required RopeSettings Rope { get; init; }

    /// <summary>Longest sequence the model was made for, in tokens: positions times the scaling of the rotary embedding.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Whether the LM head is the embedding table.</summary>
    public required bool TiedEmbeddings { get; init; }

    /// <summary>Whether q, k and v have biases.</summary>
    public required bool QkvBias { get; init; }

    /// <summary>Whether the attention output has a bias.</summary>
    public required bool OutputBias { get; init; }

    /// <summary>Whether gate, up and down have biases.</summary>
    public required bool MlpBias { get; init; }

    /// <summary>What each layer is, first to last.</summary>
    public required IReadOnlyList<LayerSettings> Layers { get; init; }

    /// <summary>Experts, or null for a dense model.</summary>
    public ExpertSettings? Experts { get; init; }

    /// <summary>End-of-sequence tokens of config.json (generation_config.json may name others).</summary>
    public required IReadOnlyList<int> EndTokens { get; init; }

    /// <summary>Type that the checkpoint says its weights have, or null.</summary>
    public DType? StoredType { get; init; }

    /// <summary>The descriptor that the decoder is driven by.</summary>
    internal ModelFamily Family { get; }

    /// <summary>Reads <c>config.json</c> of a checkpoint folder, or the metadata of a GGUF file (see <see cref="Checkpoint"/>).</summary>
    /// <exception cref="UnsupportedArchitectureException">The architecture is not served.</exception>
    /// <exception cref="CheckpointFormatException">The file is missing, not JSON, or a field is outside its limits.</exception>
    public static ModelConfig Load(string path)
    {
        if (Checkpoint.FindGguf(path) is not { } file)
            return ModelConfigReader.Read(Path.Combine(path, "config.json"));
        using GgufFile gguf = GgufFile.Open(file);
        return GgufConfigReader.Read(gguf);
    }
}

/// <summary>What one layer is.</summary>
/// <param name="Window">Sliding window in tokens; 0 = unlimited.</param>
/// <param name="HasExperts">Whether its MLP is a mixture of experts.</param>
public readonly record struct LayerSettings(int Window, bool HasExperts);

/// <summary>Mixture of experts.</summary>
/// <param name="Count">Routed experts per layer.</param>
/// <param name="PerToken">Experts that a token visits.</param>
/// <param name="IntermediateSize">Columns between gate/up and down of one expert.</param>
/// <param name="Renormalise">Whether the factors of the chosen experts are scaled to sum to one.</param>
/// <param name="SharedIntermediateSize">Columns of the expert that every token visits; 0 = there is none.</param>
public sealed record ExpertSettings(int Count, int PerToken, int IntermediateSize, bool Renormalise, int SharedIntermediateSize);
