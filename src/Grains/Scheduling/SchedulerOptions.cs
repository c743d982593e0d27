namespace Cluster.Grains.Scheduling;

/// <summary>What a scheduler may hand out.</summary>
internal sealed record SchedulerOptions
{
    /// <summary>KV blocks of the replica's smallest shard.</summary>
    public required int BlockCount { get; init; }

    /// <summary>Tokens per block.</summary>
    public required int BlockSize { get; init; }

    /// <summary>Token budget: most rows of one step.</summary>
    public required int MaxTokensPerStep { get; init; }

    /// <summary>Most sequences of one step.</summary>
    public required int MaxSequencesPerStep { get; init; }

    /// <summary>Sequences that may wait, beyond those that can start at once.</summary>
    public required int MaxQueued { get; init; }

    /// <summary>Steps that may be under way together: one per pipeline stage.</summary>
    public int MaxStepsInFlight { get; init; } = 1;

    /// <summary>Whether committed blocks are shared by equal beginnings.</summary>
    public bool EnablePrefixCache { get; init; } = true;

    /// <summary>Model and cache type: equal tokens of another model or another arithmetic are not the same block.</summary>
    public string CacheSalt { get; init; } = "";

    /// <summary>
    /// Whether the device computes prompt rows and generated rows with different arithmetic (a library GEMM for prompts),
    /// so that a block's hash must tell which of its rows were prompt. False for kernels with one arithmetic for every row.
    /// </summary>
    public bool DistinguishRoles { get; init; }

    /// <summary>Throws when a limit is not usable.</summary>
    public void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(BlockCount);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(BlockSize);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaxTokensPerStep);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaxSequencesPerStep);
        ArgumentOutOfRangeException.ThrowIfNegative(MaxQueued);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaxStepsInFlight);
    }
}
