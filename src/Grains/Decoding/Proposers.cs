using Cluster.Contracts;

namespace Cluster.Grains.Decoding;

/// <summary>Every method that a replica can guess with.</summary>
internal sealed class Proposers(IGrainFactory grains, TimeProvider time) : IProposerFactory
{
    /// <inheritdoc/>
    public IProposer Create(SpeculativeConfig config) => config.Method switch
    {
        SpeculativeConfig.Ngram => new NgramProposer(config),
        SpeculativeConfig.DraftModel => new DraftModelProposer(config, grains, time),
        _ => throw new NotSupportedException($"There is no speculation method '{config.Method}'."),
    };
}
