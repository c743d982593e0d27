using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Replicas;

namespace Cluster.Grains.Shards;

/// <summary>A replica's part on one device; pinned to the device's silo. Key: silo/device/model/replica/rank.</summary>
[Alias("Cluster.IShardGrain")]
internal interface IShardGrain : IGrainWithStringKey
{
    /// <summary>Takes part in a replica's epoch: forgets all sequences and refuses plans of other epochs from now on.</summary>
    /// <exception cref="ShardFailedException">The shard is not loaded, a newer epoch is known, or its peers did not come.</exception>
    [Alias("OpenEpoch"), ResponseTimeout("00:01:00")]
    Task<ShardCapacity> Open([Immutable] ShardOpening opening);

    /// <summary>Runs one step. Nothing is half-applied: after a failure the replica opens a new epoch.</summary>
    /// <exception cref="ShardFailedException">Wrong epoch or order, or the device failed.</exception>
    [Alias("Execute"), ResponseTimeout("00:10:00")]
    Task<StepResult> Execute([Immutable] StepPlan plan);
}

/// <summary>A shard's place in an epoch of its replica.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ShardOpening")]
internal sealed record ShardOpening
{
    /// <summary>Key of the replica.</summary>
    [Id(0)] public required string Replica { get; init; }

    /// <summary>The epoch.</summary>
    [Id(1)] public required long Epoch { get; init; }

    /// <summary>Rank of the shard.</summary>
    [Id(2)] public int Rank { get; init; }

    /// <summary>How the replica is cut.</summary>
    [Id(3)] public ModelLayout Layout { get; init; } = ModelLayout.Single;

    /// <summary>Whether all ranks are in this silo.</summary>
    [Id(4)] public bool IsLocal { get; init; } = true;

    /// <summary>Where each rank takes connections of its peers.</summary>
    [Id(5)] public ImmutableArray<string> Endpoints { get; init; } = [];

    /// <summary>Proves to the peers that a rank belongs to the epoch.</summary>
    [Id(6)] public ImmutableArray<byte> Secret { get; init; } = [];
}

/// <summary>What a shard has room for.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ShardCapacity")]
internal sealed record ShardCapacity(
    [property: Id(0)] int Blocks,
    [property: Id(1)] int BlockSize,
    [property: Id(2)] int MaxBatchedTokens,
    [property: Id(3)] int MaxSequences,
    [property: Id(4)] int MaxModelLength);

/// <summary>One step over all scheduled sequences. New sequences travel in full, known ones as a difference.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.StepPlan")]
internal sealed record StepPlan
{
    /// <summary>Epoch of the replica.</summary>
    [Id(0)] public required long Epoch { get; init; }

    /// <summary>Number of the step within the epoch.</summary>
    [Id(1)] public required long Step { get; init; }

    /// <summary>Sequences the shard does not know yet (also after a preemption).</summary>
    [Id(2)] public required ImmutableArray<NewSequence> Added { get; init; }

    /// <summary>Sequences to forget, before <see cref="Added"/> is applied.</summary>
    [Id(3)] public required ImmutableArray<int> Removed { get; init; }

    /// <summary>Who runs, in row order.</summary>
    [Id(4)] public required ImmutableArray<ScheduledSequence> Scheduled { get; init; }
}

/// <summary>A sequence in full.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.NewSequence")]
internal sealed record NewSequence
{
    /// <summary>Id within the replica's epoch.</summary>
    [Id(0)] public required int Id { get; init; }

    /// <summary>Prompt and generated tokens.</summary>
    [Id(1)] public required ImmutableArray<int> Tokens { get; init; }

    /// <summary>How many of <see cref="Tokens"/> are prompt.</summary>
    [Id(2)] public required int PromptLength { get; init; }

    /// <summary>Choice index (key of the random numbers).</summary>
    [Id(3)] public required int Choice { get; init; }

    /// <summary>Sampling with all defaults filled in.</summary>
    [Id(4)] public required SamplingOptions Sampling { get; init; }

    /// <summary>Seed of the request.</summary>
    [Id(5)] public required ulong Seed { get; init; }

    /// <summary>Tokens that may not be drawn before <see cref="MinTokens"/>.</summary>
    [Id(6)] public required ImmutableArray<int> StopTokens { get; init; }

    /// <summary>No stop token before this many generated tokens.</summary>
    [Id(7)] public required int MinTokens { get; init; }

    /// <summary>Alternatives per generated token; -1 = no log-probabilities.</summary>
    [Id(8)] public required int TopLogprobs { get; init; }

    /// <summary>Alternatives per prompt token; -1 = none.</summary>
    [Id(9)] public required int PromptTopLogprobs { get; init; }
}

/// <summary>One sequence's part of a step.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ScheduledSequence")]
internal sealed record ScheduledSequence
{
    /// <summary>Id within the replica's epoch.</summary>
    [Id(0)] public required int Id { get; init; }

    /// <summary>Tokens that were committed since the sequence was added or last scheduled.</summary>
    [Id(1)] public required ImmutableArray<int> AppendedTokens { get; init; }

    /// <summary>Blocks added to the end of the sequence's table.</summary>
    [Id(2)] public required ImmutableArray<int> NewBlocks { get; init; }

    /// <summary>Tokens whose keys and values are already in the cache: the first row's position.</summary>
    [Id(3)] public required int ComputedTokens { get; init; }

    /// <summary>Rows of this step.</summary>
    [Id(4)] public required int NewTokens { get; init; }

    /// <summary>Draw a token from the last row, and from each row of a draft.</summary>
    [Id(5)] public required bool Sample { get; init; }

    /// <summary>Tokens guessed to follow the known ones: the last of the rows. They are not committed by this step.</summary>
    [Id(6)] public ImmutableArray<int> Draft { get; init; } = [];
}

/// <summary>What a step gave, in the order of <see cref="StepPlan.Scheduled"/> (rank 0 of the last stage; others return it empty).</summary>
[GenerateSerializer, Immutable, Alias("Cluster.StepResult")]
internal sealed record StepResult(
    [property: Id(0)] long Step,
    [property: Id(1)] ImmutableArray<SequenceOutput> Outputs);

/// <summary>One sequence's output of a step.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SequenceOutput")]
internal sealed record SequenceOutput(
    [property: Id(0)] int Id,
    [property: Id(1)] ImmutableArray<GeneratedToken> Tokens,
    [property: Id(2)] ImmutableArray<ScoredToken> PromptLogprobs);

/// <summary>A shard cannot do what its replica asked: wrong epoch, not loaded, or the device failed.</summary>
[GenerateSerializer, Alias("Cluster.ShardFailedException")]
internal sealed class ShardFailedException : Exception
{
    /// <summary>Makes the exception.</summary>
    public ShardFailedException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
