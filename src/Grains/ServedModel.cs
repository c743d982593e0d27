using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Text;

namespace Cluster.Grains;

/// <summary>
/// What a silo knows of a model it serves: one singleton per silo and model, read once from the checkpoint's folder.
/// </summary>
internal sealed record ServedModel
{
    /// <summary>Name, path, fingerprint, limits.</summary>
    public required ModelDescription Description { get; init; }

    /// <summary>Number of token ids.</summary>
    public required int VocabularySize { get; init; }

    /// <summary>End-of-sequence ids of generation_config.json, else of config.json.</summary>
    public required ImmutableArray<int> EosTokens { get; init; }

    /// <summary>Sampling defaults of generation_config.json (all members filled in).</summary>
    public required SamplingOptions SamplingDefaults { get; init; }

    /// <summary>The tokenizer; null for a model that serves token ids only.</summary>
    public Tokenizer? Tokenizer { get; init; }

    /// <summary>The chat template; null when the checkpoint has none.</summary>
    public ChatTemplate? ChatTemplate { get; init; }
}
