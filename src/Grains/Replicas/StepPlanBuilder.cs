using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Cluster.Grains.Scheduling;
using Cluster.Grains.Shards;

namespace Cluster.Grains.Replicas;

/// <summary>From what the scheduler decided to the message for the shards: new sequences in full, known ones as a difference.</summary>
internal static class StepPlanBuilder
{
    /// <summary>Makes the message of a step.</summary>
    public static StepPlan Build(SchedulerStep step, long epoch)
    {
        int added = 0;
        foreach (ScheduledRows rows in step.RowList)
            added += rows.KnownTokens == 0 ? 1 : 0;
        var newcomers = new NewSequence[added];
        var scheduled = new ScheduledSequence[step.RowList.Count];
        added = 0;
        for (int i = 0; i < scheduled.Length; i++)
        {
            ScheduledRows rows = step.RowList[i];
            if (rows.KnownTokens == 0)
                newcomers[added++] = ((ActiveSequence)rows.Sequence).Describe();
            scheduled[i] = Map(rows);
        }

        return new StepPlan
        {
            Epoch = epoch,
            Step = step.Number,
            Added = ImmutableCollectionsMarshal.AsImmutableArray(newcomers),
            Removed = [.. step.RemovedList],
            Scheduled = ImmutableCollectionsMarshal.AsImmutableArray(scheduled),
        };
    }

    private static ScheduledSequence Map(in ScheduledRows rows)
    {
        ReadOnlySpan<int> tokens = rows.Sequence.Tokens;
        ReadOnlySpan<int> blocks = rows.Sequence.Blocks.Blocks[rows.KnownBlocks..];
        ReadOnlySpan<int> appended = rows.KnownTokens == 0 ? [] : tokens[rows.KnownTokens..];
        return new ScheduledSequence
        {
            Id = rows.Sequence.Id,
            AppendedTokens = appended.IsEmpty ? [] : ImmutableArray.Create(appended),
            NewBlocks = blocks.IsEmpty ? [] : ImmutableArray.Create(blocks),
            ComputedTokens = rows.ComputedTokens,
            NewTokens = rows.Count,
            Sample = rows.Sample,
            Draft = rows.DraftCount == 0 ? [] : ImmutableArray.Create(rows.Sequence.Draft[..rows.DraftCount]),
        };
    }
}
