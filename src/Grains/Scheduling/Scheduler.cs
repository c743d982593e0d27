namespace Cluster.Grains.Scheduling;

/// <summary>Answer to a group of sequences that wants to be queued.</summary>
internal enum QueueAnswer
{
    /// <summary>Queued.</summary>
    Accepted,

    /// <summary>Too many sequences wait already.</summary>
    QueueFull,

    /// <summary>A sequence would need more blocks than there are.</summary>
    TooLong,
}

/// <summary>
/// Decides who runs in each step, on which blocks, and who is preempted. Pure: no clock, no random numbers, no I/O; one
/// scheduler lives for one epoch of its replica.
/// <para>
/// A step hands out a token budget. Every running sequence gets one row first (a decode needs no more), then those that lag
/// behind their known tokens get what is left (chunked prefill), then waiting sequences start. A sequence starts only when
/// blocks for all its known tokens are there, so it never stops in the middle of its prompt for want of blocks.
/// Guesses (<see cref="Sequence.Draft"/>) get what is left of budget and blocks at the end: they delay nobody and preempt nobody.
/// </para>
/// <para>
/// Progress: when a running sequence needs a block and there is none, the last one in <see cref="Sequence.Compare"/> order
/// goes back to the queue. The first one is never the victim, it is alone in the end, and a sequence that does not fit the
/// whole pool is refused when it comes: so the first one always finishes, and then the next.
/// </para>
/// </summary>
internal sealed partial class Scheduler
{
    private readonly SchedulerOptions _options;
    private readonly PrefixCache _cache;
    private readonly BlockPool _pool;
    private readonly SessionQueue _queue;
    private readonly List<Sequence> _running = [];
    private readonly List<Sequence> _eligible = [];
    private readonly List<int> _removed = [];
    private readonly List<int> _matched = [];
    private readonly Stack<SchedulerStep> _spareSteps = new();
    private long _nextStep;
    private int _stepsInFlight;
    private bool _queueIsBlocked;

    /// <summary>A scheduler without sequences.</summary>
    public Scheduler(SchedulerOptions options)
    {
        options.Validate();
        _options = options;
        _cache = new PrefixCache(options);
        _pool = new BlockPool(options.BlockCount, _cache);
        _queue = new SessionQueue(options.EnablePrefixCache ? options.BlockSize : int.MaxValue);
    }

    /// <summary>Sequences that hold blocks.</summary>
    public int RunningCount => _running.Count;

    /// <summary>Sequences in the queue.</summary>
    public int WaitingCount => _queue.Count;

    /// <summary>Whether any sequence runs or waits.</summary>
    public bool HasWork => _running.Count > 0 || _queue.Count > 0;

    /// <summary>The blocks.</summary>
    public BlockPool Blocks => _pool;

    /// <summary>One sequence per step, those that wait first: shows which one it is that makes steps fail.</summary>
    public bool IsolateSequences { get; set; }

    /// <summary>Totals over all committed steps.</summary>
    public StepAccount Account { get; private set; }

    /// <summary>Times that a sequence lost its blocks.</summary>
    public long PreemptionCount { get; private set; }

    // More than a step can hold would only take turns: they wait instead, and room is made for them by fair share.
    private int MaxRunning => Math.Min(_options.MaxSequencesPerStep, _options.MaxTokensPerStep) * _options.MaxStepsInFlight;

    /// <summary>Queues a group as a whole, or refuses it as a whole.</summary>
    public QueueAnswer TryAdd(IReadOnlyList<Sequence> group)
    {
        foreach (Sequence sequence in group)
        {
            if (!Fits(sequence))
                return QueueAnswer.TooLong;
        }

        // Sequences that the next step will start do not wait; a group that comes when nothing runs is never too large.
        int startable = _queueIsBlocked ? 0 : Math.Max(0, MaxRunning - _running.Count);
        if (HasWork && (long)_queue.Count + group.Count > (long)_options.MaxQueued + startable)
            return QueueAnswer.QueueFull;
        foreach (Sequence sequence in group)
            _queue.Add(sequence);
        return QueueAnswer.Accepted;
    }

    /// <summary>Queues a sequence that was accepted before (by the scheduler of an earlier epoch). False if it does not fit.</summary>
    public bool TryRestore(Sequence sequence)
    {
        sequence.Detach();
        if (!Fits(sequence))
            return false;
        _queue.Add(sequence);
        return true;
    }

    /// <summary>Ends a sequence at once, wherever it is; what a step in flight computes for it is ignored.</summary>
    public void Cancel(Sequence sequence)
    {
        if (sequence.State != SequenceState.Finished)
            Finish(sequence);
    }

    /// <summary>Decides the next step; null when nobody can run now.</summary>
    public SchedulerStep? Schedule()
    {
        if (_stepsInFlight == _options.MaxStepsInFlight)
            throw new InvalidOperationException($"{_stepsInFlight} steps are in flight, limit {_options.MaxStepsInFlight}.");
        MakeRoomForNext();
        SecureBlocks();
        SchedulerStep step = _spareSteps.TryPop(out SchedulerStep? spare) ? spare : new SchedulerStep();
        if (IsolateSequences)
            ServeOne(step);
        else
            Serve(step);
        if (step.Rows.Count == 0)
        {
            _spareSteps.Push(step);
            return null;
        }

        step.Number = _nextStep++;
        step.RemovedList.AddRange(_removed);
        _removed.Clear();
        _stepsInFlight++;
        Seal(step);
        return step;
    }

    /// <summary>Whether the next step has no rows of prompts: nobody waits or lags behind.</summary>
    public bool IsDecodingOnly
    {
        get
        {
            foreach (Sequence sequence in _running)
            {
                if (sequence.StepInFlight < 0 && sequence.PendingTokens > 1)
                    return false;
            }

            return _queue.Count == 0;
        }
    }

    /// <summary>Adds the sequences whose next step draws from their last known token: those that a draft would serve.</summary>
    public void AddDecoding(List<Sequence> sequences)
    {
        foreach (Sequence sequence in _running)
        {
            if (sequence.StepInFlight < 0 && sequence.PendingTokens == 1 && sequence.Length + 1 < sequence.MaxLength)
                sequences.Add(sequence);
        }
    }

    /// <summary>Takes over what a step gave for one sequence.</summary>
    /// <param name="step">The step.</param>
    /// <param name="index">Index in <see cref="SchedulerStep.Rows"/>.</param>
    /// <param name="emitted">New tokens; empty after a chunk that did not reach the end.</param>
    /// <param name="retained">Rows whose keys and values stay.</param>
    /// <param name="ended">Whether the sequence is complete.</param>
    /// <returns>False if the sequence was cancelled meanwhile: nothing is taken over.</returns>
    public bool Commit(SchedulerStep step, int index, ReadOnlySpan<int> emitted, int retained, bool ended)
    {
        ScheduledRows rows = step.Rows[index];
        Sequence sequence = rows.Sequence;
        if (index != step.Committed)
            throw new InvalidOperationException($"Step {step.Number} commits row group {index}, next is {step.Committed}.");
        step.Committed++;
        var account = new StepAccount(rows.Count, emitted.Length, retained);
        Account += account;
        if (sequence.State == SequenceState.Finished)
            return false;
        if (sequence.StepInFlight != step.Number)
            throw new InvalidOperationException($"Sequence {sequence.Id} is in step {sequence.StepInFlight}, not in {step.Number}.");
        ArgumentOutOfRangeException.ThrowIfNegative(retained);
        sequence.StepInFlight = -1;
        sequence.Account += account;
        sequence.Append(emitted);
        sequence.ComputedTokens = rows.ComputedTokens + retained;
        sequence.PromptComputed |= sequence.ComputedTokens >= sequence.PromptLength;
        sequence.RegisteredBlocks = _cache.Register(sequence, sequence.RegisteredBlocks);
        if (ended)
            Finish(sequence);
        else if (sequence.PendingTokens < 1)
            throw new InvalidOperationException($"Sequence {sequence.Id} goes on with {sequence.ComputedTokens} of {sequence.Length} tokens computed.");
        return true;
    }

    /// <summary>A step is over: every row group was committed.</summary>
    public void Complete(SchedulerStep step)
    {
        if (step.Committed != step.Rows.Count)
            throw new InvalidOperationException($"Step {step.Number}: {step.Committed} of {step.Rows.Count} row groups were committed.");
        _stepsInFlight--;
        step.Clear();
        _spareSteps.Push(step);
    }

    /// <summary>All sequences that run or wait.</summary>
    public List<Sequence> Sequences() => [.. _running, .. _queue.All];

    /// <summary>Throws when the accounting of blocks or the state of a sequence is wrong.</summary>
    public void CheckIntegrity()
    {
        _pool.CheckIntegrity(_running.Select(sequence => sequence.Blocks));
        foreach (Sequence sequence in _running)
        {
            int needed = BlocksFor(sequence.ComputedTokens);
            if (sequence.State != SequenceState.Running || sequence.Blocks.Count < needed)
                throw new InvalidOperationException($"Sequence {sequence.Id} is {sequence.State} with {sequence.Blocks.Count} blocks, needs {needed}.");
            for (int i = sequence.ComputedTokens / _options.BlockSize; i < sequence.Blocks.Count; i++)
            {
                if (_pool.References(sequence.Blocks[i]) != 1 || _cache.IsKnown(sequence.Blocks[i]))
                    throw new InvalidOperationException($"Sequence {sequence.Id} writes to block {sequence.Blocks[i]}, which others read.");
            }
        }

        foreach (Sequence sequence in _queue.All)
        {
            if (sequence.State != SequenceState.Waiting || sequence.Blocks.Count != 0 || sequence.StepInFlight >= 0)
                throw new InvalidOperationException($"Sequence {sequence.Id} waits as {sequence.State} with {sequence.Blocks.Count} blocks.");
        }
    }

    private bool Fits(Sequence sequence) => BlocksFor(RowsAtEnd(sequence)) <= _options.BlockCount;

    // The last token is never fed back, so it needs no row.
    private static int RowsAtEnd(Sequence sequence) => Math.Max(sequence.PromptLength, sequence.MaxLength - 1);

    private int BlocksFor(int tokens) => (tokens + _options.BlockSize - 1) / _options.BlockSize;

    private void Finish(Sequence sequence)
    {
        if (sequence.State == SequenceState.Waiting)
            _queue.Remove(sequence);
        else
            TakeBlocks(sequence);
        sequence.State = SequenceState.Finished;
    }

    private void Preempt(Sequence sequence)
    {
        TakeBlocks(sequence);
        sequence.State = SequenceState.Waiting;
        sequence.Preemptions++;
        PreemptionCount++;
        _queue.Add(sequence);
    }

    private void TakeBlocks(Sequence sequence)
    {
        if (!_running.Remove(sequence))
            throw new InvalidOperationException($"Sequence {sequence.Id} does not run.");
        _pool.Release(sequence.Blocks);
        _queue.CountRunning(sequence, -1);
        if (sequence.Announced.Tokens > 0)
            _removed.Add(sequence.Id);
        sequence.Announced = default;
        (sequence.ComputedTokens, sequence.RegisteredBlocks) = (0, 0);
    }
}
