using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Cluster.Grains.Replicas;
using Cluster.Kernels.Execution;

namespace Cluster.Grains.Shards;

/// <summary>From the rows of logits a step gave to what the replica reads, sequence by sequence.</summary>
internal static class StepResultBuilder
{
    /// <summary>Maps an output whose entries are in the order of the batch's logit rows.</summary>
    public static StepResult Build(StepPlan plan, ForwardBatch batch, ForwardOutput output)
    {
        if (output.Results.Length == 0 && batch.LogitRows.Length > 0)
            return new StepResult(plan.Step, []);
        if (output.Results.Length != batch.LogitRows.Length)
            throw new ShardFailedException($"Step {plan.Step} asked for {batch.LogitRows.Length} rows of logits and got {output.Results.Length}.");
        var outputs = new SequenceOutput[plan.Scheduled.Length];
        int next = 0;
        for (int i = 0; i < outputs.Length; i++)
        {
            int end = batch.RowStarts[i + 1];
            int first = next;
            while (next < batch.LogitRows.Length && batch.LogitRows[next] < end)
                next++;
            outputs[i] = Map(plan.Scheduled[i], batch.Logits.AsSpan(first, next - first), output.Results.AsSpan(first, next - first));
        }

        return new StepResult(plan.Step, ImmutableCollectionsMarshal.AsImmutableArray(outputs));
    }

    private static SequenceOutput Map(ScheduledSequence scheduled, ReadOnlySpan<LogitRequest> requests, ReadOnlySpan<LogitResult> results)
    {
        ImmutableArray<GeneratedToken> tokens = [];
        int scored = results.Length;
        if (scheduled.Sample)
        {
            scored -= 1 + scheduled.Draft.Length;
            tokens = Map(results[scored..]);
        }

        if (scored == 0)
            return new SequenceOutput(scheduled.Id, tokens, []);
        var prompt = new ScoredToken[scored];
        for (int i = 0; i < scored; i++)
            prompt[i] = new ScoredToken(requests[i].ScoredToken, results[i].Logprob, Map(results[i].Top));
        return new SequenceOutput(scheduled.Id, tokens, ImmutableCollectionsMarshal.AsImmutableArray(prompt));
    }

    private static ImmutableArray<GeneratedToken> Map(ReadOnlySpan<LogitResult> results)
    {
        var tokens = new GeneratedToken[results.Length];
        for (int i = 0; i < tokens.Length; i++)
            tokens[i] = new GeneratedToken(results[i].Token, results[i].Logprob, Map(results[i].Top));
        return ImmutableCollectionsMarshal.AsImmutableArray(tokens);
    }

    private static ImmutableArray<ScoredToken> Map(TokenScore[] top)
    {
        if (top.Length == 0)
            return [];
        var scores = new ScoredToken[top.Length];
        for (int i = 0; i < top.Length; i++)
            scores[i] = new ScoredToken(top[i].Token, top[i].Logprob, []);
        return ImmutableCollectionsMarshal.AsImmutableArray(scores);
    }
}
