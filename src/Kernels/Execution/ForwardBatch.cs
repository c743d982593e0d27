namespace Cluster.Kernels.Execution;

/// <summary>
/// One step's work for one shard as flat ragged arrays: the new rows of all scheduled sequences, one after the other.
/// Sequence s owns rows [RowStarts[s], RowStarts[s + 1]) and the blocks BlockTable[BlockStarts[s] .. BlockStarts[s + 1]).
/// Arrays may be longer than what is used; <see cref="Rows"/> and <see cref="Sequences"/> say how much is.
/// </summary>
public sealed class ForwardBatch
{
    /// <summary>New rows in this step.</summary>
    public required int Rows { get; init; }

    /// <summary>Sequences in this step.</summary>
    public required int Sequences { get; init; }

    /// <summary>Token of each row, [Rows].</summary>
    public required int[] TokenIds { get; init; }

    /// <summary>Position of each row in its sequence, [Rows].</summary>
    public required int[] Positions { get; init; }

    /// <summary>Cache slot (block * blockSize + offset) that each row's key and value go to, [Rows].</summary>
    public required int[] SlotMapping { get; init; }

    /// <summary>First row of each sequence, [Sequences + 1].</summary>
    public required int[] RowStarts { get; init; }

    /// <summary>Keys of each sequence after this step, [Sequences].</summary>
    public required int[] ContextLengths { get; init; }

    /// <summary>Block ids of all sequences, [BlockStarts[Sequences]].</summary>
    public required int[] BlockTable { get; init; }

    /// <summary>First entry of each sequence in <see cref="BlockTable"/>, [Sequences + 1].</summary>
    public required int[] BlockStarts { get; init; }

    /// <summary>Rows whose logits are wanted, in output order.</summary>
    public required int[] LogitRows { get; init; }

    /// <summary>What to do with the logits of each of <see cref="LogitRows"/>.</summary>
    public required LogitRequest[] Logits { get; init; }
}

/// <summary>What is wanted of one row of logits.</summary>
/// <param name="Sampling">Draw a token with this state, or null to only report log-probabilities.</param>
/// <param name="ScoredToken">Token whose log-probability is wanted (the next prompt token), or -1.</param>
/// <param name="TopLogprobs">How many alternatives to report, -1 for no log-probabilities at all.</param>
public sealed record LogitRequest(Sampling.SamplingState? Sampling, int ScoredToken, int TopLogprobs);
