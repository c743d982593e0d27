using Cluster.Contracts;
using Cluster.Kernels.Sampling;

namespace Cluster.Grains.Shards;

/// <summary>From the contract's sampling options to what a draw depends on.</summary>
internal static class SamplingMapping
{
    /// <summary>Parameters of a request; members that are still null take the neutral value.</summary>
    public static SamplingParameters ToParameters(SamplingOptions options) => new()
    {
        Temperature = options.Temperature ?? 1,
        TopK = Math.Max(0, options.TopK ?? 0),
        TopP = options.TopP ?? 1,
        MinP = options.MinP ?? 0,
        RepetitionPenalty = options.RepetitionPenalty ?? 1,
        FrequencyPenalty = options.FrequencyPenalty,
        PresencePenalty = options.PresencePenalty,
        LogitBias = options.LogitBias,
    };

    /// <summary>State of the draw that follows a sequence's last known token, or the first <paramref name="drafted"/> tokens of its draft.</summary>
    public static SamplingState NextDraw(ShardSequence sequence, int drafted = 0) => new()
    {
        Parameters = sequence.Sampling,
        Seed = sequence.Origin.Seed,
        Choice = sequence.Origin.Choice,
        Position = sequence.Length + drafted,
        Tokens = sequence.Drafted[..(sequence.Length + drafted)],
        PromptLength = sequence.Origin.PromptLength,
        BannedTokens = sequence.GeneratedCount + drafted < sequence.Origin.MinTokens ? sequence.StopTokens : [],
    };
}
