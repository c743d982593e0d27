using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Shards;
using Cluster.Grains.Tests.Replicas;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Sampling;

namespace Cluster.Grains.Tests.Shards;

public sealed class ForwardBatchBuilderTests
{
    private static readonly SamplingOptions Options = new()
    {
        Temperature = 0.5f, TopK = -1, TopP = 0.9f, MinP = 0.1f, RepetitionPenalty = 1.1f, FrequencyPenalty = 0.2f, PresencePenalty = 0.3f,
        LogitBias = ImmutableDictionary<int, float>.Empty.Add(5, -1),
    };

    [Fact]
    public void Batch_IsFlatAndRagged()
    {
        var table = new SequenceTable(blockCount: 100, blockSize: 4);
        var builder = new ForwardBatchBuilder();
        StepPlan first = Plan(0, [Sequence(1, [10, 11, 12, 13, 14], 5), Sequence(2, [20, 21], 2)], [Rows(1, [7, 3], 0, 5, true), Rows(2, [9], 0, 1, false)]);
        table.Apply(first);
        ForwardBatch batch = builder.Build(first, table);
        Assert.Equal((6, 2), (batch.Rows, batch.Sequences));
        Assert.Equal([10, 11, 12, 13, 14, 20], batch.TokenIds[..6]);
        Assert.Equal([0, 1, 2, 3, 4, 0], batch.Positions[..6]);
        Assert.Equal([28, 29, 30, 31, 12, 36], batch.SlotMapping[..6]);
        Assert.Equal([0, 5, 6], batch.RowStarts[..3]);
        Assert.Equal([5, 1], batch.ContextLengths[..2]);
        Assert.Equal([7, 3, 9], batch.BlockTable[..3]);
        Assert.Equal([0, 2, 3], batch.BlockStarts[..3]);
        Assert.Equal([4], batch.LogitRows);

        StepPlan second = Plan(1, [], [Rows(1, [], 5, 1, true, appended: [15]), Rows(2, [], 1, 1, true)]);
        table.Apply(second);
        batch = builder.Build(second, table);
        Assert.Equal([15, 21], batch.TokenIds[..2]);
        Assert.Equal([13, 37], batch.SlotMapping[..2]);
        Assert.Equal([6, 2], batch.ContextLengths[..2]);
        Assert.Equal([0, 1], batch.LogitRows);
    }

    [Fact]
    public void Draw_KnowsEverythingItDependsOn()
    {
        var table = new SequenceTable(100, 4);
        var builder = new ForwardBatchBuilder();
        NewSequence origin = Sequence(1, [10, 11, 12], 2) with { Sampling = Options, Seed = 77, Choice = 3, StopTokens = [4, 5], MinTokens = 2, TopLogprobs = 6 };
        StepPlan first = Plan(0, [origin], [Rows(1, [0], 0, 3, true)]);
        table.Apply(first);
        LogitRequest request = builder.Build(first, table).Logits.Single();
        SamplingState state = request.Sampling!;
        Assert.Equal((-1, 6), (request.ScoredToken, request.TopLogprobs));
        Assert.Equal((77UL, 3, 3, 2), (state.Seed, state.Choice, state.Position, state.PromptLength));
        Assert.Equal([10, 11, 12], state.Tokens.ToArray());
        Assert.Equal([4, 5], state.BannedTokens);
        SamplingParameters expected = new()
        {
            Temperature = 0.5f, TopK = 0, TopP = 0.9f, MinP = 0.1f, RepetitionPenalty = 1.1f, FrequencyPenalty = 0.2f, PresencePenalty = 0.3f,
            LogitBias = Options.LogitBias,
        };
        Assert.Equal(expected, state.Parameters);

        StepPlan second = Plan(1, [], [Rows(1, [1], 3, 1, true, appended: [13])]);
        table.Apply(second);
        Assert.Empty(builder.Build(second, table).Logits.Single().Sampling!.BannedTokens);
        Assert.Equal([10, 11, 12], state.Tokens.ToArray());
    }

    [Fact]
    public void PromptScores_AreAskedOfEveryRowButTheLast()
    {
        var table = new SequenceTable(100, 4);
        var builder = new ForwardBatchBuilder();
        NewSequence origin = Sequence(1, [10, 11, 12, 13, 14], 4) with { PromptTopLogprobs = 2, TopLogprobs = 0 };
        StepPlan first = Plan(0, [origin], [Rows(1, [0, 1], 0, 2, false)]);
        table.Apply(first);
        ForwardBatch batch = builder.Build(first, table);
        Assert.Equal([0, 1], batch.LogitRows);
        Assert.Equal([11, 12], batch.Logits.Select(logit => logit.ScoredToken));
        StepPlan second = Plan(1, [], [Rows(1, [], 2, 3, true)]);
        table.Apply(second);
        batch = builder.Build(second, table);
        Assert.Equal([0, 2], batch.LogitRows);
        Assert.Equal([13, -1], batch.Logits.Select(logit => logit.ScoredToken));
        Assert.Equal([2, 0], batch.Logits.Select(logit => logit.TopLogprobs));
    }

    /// <summary>Garbage per step, pinned: a decode of 32 sequences makes the requests for its draws and the batch itself.</summary>
    [Fact]
    public void SteadyDecode_AllocatesLittle()
    {
        var table = new SequenceTable(1000, 16);
        var builder = new ForwardBatchBuilder();
        NewSequence[] sequences = [.. Enumerable.Range(0, 32).Select(i => Sequence(i, [1, 2, 3], 3))];
        StepPlan first = Plan(0, sequences, [.. Enumerable.Range(0, 32).Select(i => Rows(i, [i], 0, 3, true))]);
        table.Apply(first);
        builder.Build(first, table);
        StepPlan next = Plan(1, [], [.. Enumerable.Range(0, 32).Select(i => Rows(i, [], 3, 1, true, appended: [9]))]);
        table.Apply(next);
        builder.Build(next, table);
        long before = GC.GetAllocatedBytesForCurrentThread();
        builder.Build(next, table);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, 6000);
    }

    private static StepPlan Plan(long step, NewSequence[] added, ScheduledSequence[] scheduled) =>
        new() { Epoch = 1, Step = step, Added = [.. added], Removed = [], Scheduled = [.. scheduled] };

    private static NewSequence Sequence(int id, int[] tokens, int promptLength) => new()
    {
        Id = id, Tokens = [.. tokens], PromptLength = promptLength, Choice = 0, Sampling = Groups.Greedy, Seed = 0,
        StopTokens = [], MinTokens = 0, TopLogprobs = -1, PromptTopLogprobs = -1,
    };

    private static ScheduledSequence Rows(int id, int[] blocks, int computed, int rows, bool sample, int[]? appended = null) =>
        new() { Id = id, AppendedTokens = [.. appended ?? []], NewBlocks = [.. blocks], ComputedTokens = computed, NewTokens = rows, Sample = sample };
}
