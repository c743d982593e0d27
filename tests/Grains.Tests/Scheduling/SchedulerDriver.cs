using Cluster.Grains.Decoding;
using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Tests.Scheduling;

/// <summary>Runs a scheduler without a model: token t of a sequence is a function of its id and length.</summary>
internal sealed class SchedulerDriver(SchedulerOptions options)
{
    private int _nextId;

    public SchedulerOptions Options { get; } = options;

    public Scheduler Scheduler { get; } = new(options);

    public List<Sequence> Finished { get; } = [];

    /// <summary>Draft tokens that were verified, and those that were right.</summary>
    public (long Tokens, long Right) Drafted { get; private set; }

    /// <summary>Token that follows the first <paramref name="length"/> tokens of a sequence.</summary>
    public static int TokenAt(Sequence sequence, int length) => (sequence.Id * 31) + length;

    public static SchedulerOptions Small(int blocks = 16, int blockSize = 4, int budget = 16, int sequences = 8, int queue = 1000) => new()
    {
        BlockCount = blocks,
        BlockSize = blockSize,
        MaxTokensPerStep = budget,
        MaxSequencesPerStep = sequences,
        MaxQueued = queue,
    };

    public Sequence Make(string session, int[] prompt, int maxTokens, int priority = 0, long acceptedAt = 0, Sequence? leader = null) =>
        new(_nextId++, session, prompt, [], maxTokens) { Priority = priority, AcceptedAt = acceptedAt, Leader = leader };

    public Sequence Add(string session, int[] prompt, int maxTokens, int priority = 0, long acceptedAt = 0)
    {
        Sequence sequence = Make(session, prompt, maxTokens, priority, acceptedAt);
        Assert.Equal(QueueAnswer.Accepted, Scheduler.TryAdd([sequence]));
        return sequence;
    }

    /// <summary>Prompt of <paramref name="length"/> tokens that no other seed shares.</summary>
    public static int[] Prompt(int length, int seed = 0) => [.. Enumerable.Range(0, length).Select(i => (seed * 1000) + i)];

    /// <summary>One step; null when nobody can run.</summary>
    public Snapshot? Step()
    {
        if (Scheduler.Schedule() is not { } step)
            return null;
        var snapshot = new Snapshot([.. step.Rows], [.. step.Removed]);
        Commit(step);
        return snapshot;
    }

    /// <summary>Commits a step as a model would.</summary>
    public void Commit(SchedulerStep step)
    {
        CheckStep(step);
        for (int i = 0; i < step.Rows.Count; i++)
        {
            ScheduledRows rows = step.Rows[i];
            Sequence sequence = rows.Sequence;
            int[] drawn = rows.Sample ? [.. Enumerable.Range(sequence.Length, 1 + rows.DraftCount).Select(length => TokenAt(sequence, length))] : [];
            Advance advance = CoupledDecoding.After(rows, drawn, []);
            Drafted = (Drafted.Tokens + rows.DraftCount, Drafted.Right + (rows.DraftCount == 0 ? 0 : advance.Emitted - 1));
            if (Scheduler.Commit(step, i, drawn.AsSpan(0, advance.Emitted), advance.Retained, advance.End is not null) && advance.End is not null)
                Finished.Add(sequence);
        }

        Scheduler.Complete(step);
    }

    /// <summary>Runs until all is done.</summary>
    public int RunToEnd(int limit = 10_000)
    {
        int steps = 0;
        while (Scheduler.HasWork)
        {
            Assert.NotNull(Step());
            Scheduler.CheckIntegrity();
            Assert.True(++steps < limit, $"{steps} steps, {Scheduler.RunningCount} running, {Scheduler.WaitingCount} waiting");
        }

        Assert.Equal(Options.BlockCount, Scheduler.Blocks.AvailableCount);
        return steps;
    }

    private void CheckStep(SchedulerStep step)
    {
        Assert.InRange(step.Rows.Sum(rows => rows.Count), 1, Options.MaxTokensPerStep);
        Assert.Equal(step.TokenCount, step.Rows.Sum(rows => rows.Count));
        Assert.InRange(step.Rows.Count, 1, Options.MaxSequencesPerStep);
        Assert.Equal(step.Rows.Count, step.Rows.Select(rows => rows.Sequence.Id).Distinct().Count());
        foreach (ScheduledRows rows in step.Rows)
        {
            int end = rows.ComputedTokens + rows.Count;
            Assert.True(rows.Count > rows.DraftCount && end - rows.DraftCount <= rows.Sequence.Length);
            Assert.True(rows.DraftCount == 0 || (rows.Sample && end < rows.Sequence.MaxLength));
            Assert.Equal(end - rows.DraftCount == rows.Sequence.Length && rows.Sequence.Length < rows.Sequence.MaxLength, rows.Sample);
            Assert.True(rows.Sequence.State == SequenceState.Finished || rows.Sequence.Blocks.Count * Options.BlockSize >= end);
        }
    }
}

/// <summary>What a step held; the step itself is used again.</summary>
internal sealed record Snapshot(IReadOnlyList<ScheduledRows> Rows, IReadOnlyList<int> Removed);
