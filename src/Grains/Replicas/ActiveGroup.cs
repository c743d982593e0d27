using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;

namespace Cluster.Grains.Replicas;

/// <summary>
/// The sequences of one caller and their way back to it. Only the replica's activation touches it. A caller in this silo gets
/// the news of a step together, in its inbox. For others the channel carries no tokens, only the sign that there is news: a
/// reader that lags finds all that came meanwhile in one report per sequence.
/// </summary>
internal sealed class ActiveGroup
{
    private readonly Channel<bool> _signal = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true, SingleWriter = true });
    private readonly Queue<ActiveSequence> _marked = new();
    private readonly List<SequenceProgress> _delivery = [];
    private Exception? _failure;
    private int _live;

    /// <summary>Makes the sequences of a group, numbered from <paramref name="firstId"/>.</summary>
    public ActiveGroup(SequenceGroup origin, int firstId, long submittedAt)
    {
        Origin = origin;
        SubmittedAt = submittedAt;
        _live = origin.Sequences.Length;
        Sequences = new List<ActiveSequence>(origin.Sequences.Length);
        foreach (SequenceStart start in origin.Sequences)
        {
            Sequences.Add(new ActiveSequence(this, firstId++, start)
            {
                Priority = origin.Priority,
                AcceptedAt = origin.AcceptedAt,
                Leader = LeaderOf(start),
            });
        }
    }

    /// <summary>The caller's message.</summary>
    public SequenceGroup Origin { get; }

    /// <summary>When it came (timestamp).</summary>
    public long SubmittedAt { get; }

    /// <summary>Its sequences.</summary>
    public List<ActiveSequence> Sequences { get; }

    /// <summary>A sequence has news; true for the first one since <see cref="Deliver"/>, which is to be called after the last.</summary>
    public bool Mark(ActiveSequence sequence)
    {
        bool isFirst = _marked.Count == 0;
        if (!sequence.IsMarked)
            _marked.Enqueue(sequence);
        sequence.IsMarked = true;
        return isFirst;
    }

    /// <summary>Lets the caller have what was marked.</summary>
    public void Deliver()
    {
        if (Origin.Inbox is not { } inbox)
        {
            _signal.Writer.TryWrite(true);
            return;
        }

        _delivery.Clear();
        while (TryTake(out SequenceProgress? progress))
            _delivery.Add(progress);
        inbox.Post(_delivery);
        if (_live == 0)
            _signal.Writer.TryWrite(true);
    }

    /// <summary>A choice is not wanted any more.</summary>
    /// <returns>Its sequence, to be cancelled; null when it has ended or does not exist.</returns>
    public ActiveSequence? Drop(int choice)
    {
        foreach (ActiveSequence sequence in Sequences)
        {
            if (sequence.Start.Choice != choice || sequence.End is not null || sequence.IsDropped)
                continue;
            sequence.IsDropped = true;
            if (--_live == 0)
                _signal.Writer.TryWrite(true);
            return sequence;
        }

        return null;
    }

    /// <summary>Ends the reader with an exception, after the news that is there.</summary>
    public void Fail(Exception failure)
    {
        _failure ??= failure;
        _signal.Writer.TryWrite(true);
    }

    /// <summary>Takes the news of one sequence; false when there is none now.</summary>
    public bool TryTake([NotNullWhen(true)] out SequenceProgress? progress)
    {
        progress = null;
        if (!_marked.TryDequeue(out ActiveSequence? sequence))
            return false;
        sequence.IsMarked = false;
        progress = sequence.TakeNews();
        _live -= progress.End is null ? 0 : 1;
        return true;
    }

    /// <summary>Waits for news; false when all sequences have ended.</summary>
    /// <exception cref="ReplicaFailedException">The group was given up.</exception>
    public async ValueTask<bool> WaitAsync(CancellationToken cancellationToken)
    {
        if (_live == 0)
            return false;
        if (_failure is not null)
            throw _failure;
        await _signal.Reader.ReadAsync(cancellationToken);
        return true;
    }

    private ActiveSequence? LeaderOf(SequenceStart start)
    {
        foreach (ActiveSequence earlier in Sequences)
        {
            if (earlier.Leader is null && earlier.Start.Prompt.AsSpan().SequenceEqual(start.Prompt.AsSpan()))
                return earlier;
        }

        return null;
    }
}
