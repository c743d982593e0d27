namespace Cluster.Grains.Scheduling;

/// <summary>One step as decided: who computes which rows, and what the shards have to learn for it.</summary>
internal sealed class SchedulerStep
{
    private readonly List<ScheduledRows> _rows = [];
    private readonly List<int> _removed = [];

    /// <summary>Number within the scheduler's life, from 0.</summary>
    public long Number { get; internal set; } = -1;

    /// <summary>Rows in all.</summary>
    public int TokenCount { get; internal set; }

    /// <summary>Who runs, in row order.</summary>
    public IReadOnlyList<ScheduledRows> Rows => _rows;

    /// <summary>Sequences the shards have to forget, before anything else.</summary>
    public IReadOnlyList<int> Removed => _removed;

    internal List<ScheduledRows> RowList => _rows;

    internal List<int> RemovedList => _removed;

    internal int Committed { get; set; }

    internal void Clear()
    {
        _rows.Clear();
        _removed.Clear();
        (Number, TokenCount, Committed) = (-1, 0, 0);
    }
}

/// <summary>One sequence's part of a step.</summary>
/// <param name="Sequence">The sequence.</param>
/// <param name="ComputedTokens">Position of the first row.</param>
/// <param name="Count">Rows.</param>
/// <param name="Sample">Whether a token is drawn from the last row.</param>
/// <param name="KnownTokens">Tokens the shards know already; 0 = they do not know the sequence.</param>
/// <param name="KnownBlocks">Blocks the shards know already.</param>
/// <param name="DraftCount">How many of the last rows are guesses (<see cref="Sequence.Draft"/>); a token is drawn from each of them too.</param>
internal readonly record struct ScheduledRows(
    Sequence Sequence,
    int ComputedTokens,
    int Count,
    bool Sample,
    int KnownTokens,
    int KnownBlocks,
    int DraftCount = 0);
