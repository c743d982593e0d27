namespace Cluster.Grains.Scheduling;

/// <summary>How a step's budget and the blocks are given out.</summary>
internal sealed partial class Scheduler
{
    // Every running sequence holds blocks for all its known tokens; after a commit it may need one more.
    private void SecureBlocks()
    {
        for (int i = 0; i < _running.Count; i++)
        {
            Sequence sequence = _running[i];
            if (sequence.StepInFlight >= 0)
                continue;
            int missing = BlocksFor(sequence.Length) - sequence.Blocks.Count;
            while (missing > 0 && !_pool.TryAllocate(sequence.Blocks, missing))
            {
                Sequence? victim = LastBehind(i);
                if (victim is null && i < _running.Count - 1)
                    break; // Those behind are all in flight: this one waits for them instead of losing its blocks.
                Preempt(victim ?? sequence);
                if (victim is null)
                    break;
            }
        }
    }

    private Sequence? LastBehind(int index)
    {
        for (int i = _running.Count - 1; i > index; i--)
        {
            if (_running[i].StepInFlight < 0)
                return _running[i];
        }

        return null;
    }

    private bool HoldsItsBlocks(Sequence sequence) => sequence.Blocks.Count >= BlocksFor(sequence.Length);

    private int ServeRunning(SchedulerStep step, int budget, int most)
    {
        _eligible.Clear();
        foreach (Sequence sequence in _running)
        {
            if (sequence.StepInFlight < 0 && HoldsItsBlocks(sequence))
                _eligible.Add(sequence);
        }

        // With several steps in flight each takes its share, or the first would take all and the others stay empty.
        int share = (_running.Count + _options.MaxStepsInFlight - 1) / _options.MaxStepsInFlight;
        int served = Math.Min(Math.Min(_eligible.Count, share), Math.Min(budget, most));
        if (served < _eligible.Count)
        {
            _eligible.Sort(CompareService);
            _eligible.RemoveRange(served, _eligible.Count - served);
            _eligible.Sort(Sequence.Compare);
        }

        budget -= served;
        foreach (Sequence sequence in _eligible)
        {
            sequence.PlannedRows = 1;
            if (sequence.PendingTokens > 1 && budget > 0)
                budget = Extend(sequence, budget);
        }

        foreach (Sequence sequence in _eligible)
            Plan(step, sequence);
        return budget;
    }

    private void Serve(SchedulerStep step)
    {
        int budget = ServeRunning(step, _options.MaxTokensPerStep, _options.MaxSequencesPerStep);
        ServeDrafts(step, StartWaiting(step, budget, _options.MaxSequencesPerStep));
    }

    private void ServeOne(SchedulerStep step)
    {
        StartWaiting(step, _options.MaxTokensPerStep, most: 1);
        if (step.Rows.Count == 0)
            ServeRunning(step, _options.MaxTokensPerStep, most: 1);
    }

    // Those that were served longest ago come first, so that a small budget goes round.
    private static int CompareService(Sequence left, Sequence right)
    {
        int order = left.Priority.CompareTo(right.Priority);
        if (order == 0)
            order = left.LastStep.CompareTo(right.LastStep);
        return order != 0 ? order : Sequence.Compare(left, right);
    }

    private int Extend(Sequence sequence, int budget)
    {
        int more = Math.Min(sequence.PendingTokens - sequence.PlannedRows, budget);
        if (more == budget && !_queueIsBlocked && _queue.Next() is { } next && next.Session != sequence.Session)
            more -= budget / 4; // A long prompt leaves a quarter to those behind it.
        sequence.PlannedRows += more;
        return budget - more;
    }

    private int StartWaiting(SchedulerStep step, int budget, int most)
    {
        bool isBlocked = false;
        int cut = 0;
        foreach (ScheduledRows rows in step.Rows)
            cut += rows.Count < rows.Sequence.PendingTokens ? 1 : 0;
        while (budget > 0 && cut < 2 && step.Rows.Count < most && _queue.Next() is { } next)
        {
            if (!TryStart(next))
            {
                isBlocked = true;
                break;
            }

            next.PlannedRows = 0;
            budget = cut == 0 ? Extend(next, budget) : ExtendFully(next, budget);
            cut += next.PlannedRows < next.PendingTokens ? 1 : 0;
            Plan(step, next);
        }

        _queueIsBlocked = isBlocked;
        return budget;
    }

    private void ServeDrafts(SchedulerStep step, int budget)
    {
        for (int i = 0; i < step.RowList.Count && budget > 0; i++)
        {
            ScheduledRows rows = step.RowList[i];
            int draft = rows.Sample ? DraftRows(rows.Sequence, budget) : 0;
            if (draft == 0)
                continue;
            step.RowList[i] = rows with { Count = rows.Count + draft, DraftCount = draft };
            step.TokenCount += draft;
            budget -= draft;
        }
    }

    // The last token is never fed back, so one less than may still be emitted. Blocks that others may want soon are left alone.
    private int DraftRows(Sequence sequence, int budget)
    {
        int most = Math.Min(Math.Min(sequence.Draft.Length, budget), sequence.MaxLength - sequence.Length - 1);
        if (most <= 0)
            return 0;
        int missing = BlocksFor(sequence.Length + most) - sequence.Blocks.Count;
        if (missing > 0)
            _pool.TryAllocate(sequence.Blocks, Math.Min(missing, Math.Max(0, _pool.AvailableCount - Reserve)));
        return Math.Min(most, (sequence.Blocks.Count * _options.BlockSize) - sequence.Length);
    }

    private static int ExtendFully(Sequence sequence, int budget)
    {
        sequence.PlannedRows = Math.Min(sequence.PendingTokens, budget);
        return budget - sequence.PlannedRows;
    }

    private bool TryStart(Sequence sequence)
    {
        if (_running.Count >= MaxRunning || !HasBlocksFor(sequence, out int missing))
            return false;
        _queue.Remove(sequence);
        _queue.CountRunning(sequence, 1);
        foreach (int block in _matched)
            _pool.Share(sequence.Blocks, block);
        int cached = _matched.Count * _options.BlockSize;
        if (!_pool.TryAllocate(sequence.Blocks, missing))
            throw new InvalidOperationException($"{missing} blocks for sequence {sequence.Id} are gone; {_pool.AvailableCount} left.");
        sequence.State = SequenceState.Running;
        sequence.ComputedTokens = cached;
        sequence.RegisteredBlocks = _matched.Count;
        sequence.PromptComputed |= cached >= sequence.PromptLength;
        if (!sequence.Started)
            sequence.CachedTokens = Math.Min(cached, sequence.PromptLength);
        sequence.Started = true;
        int index = _running.BinarySearch(sequence, ByOrder);
        _running.Insert(~index, sequence);
        return true;
    }

    private static readonly Comparer<Sequence> ByOrder = Comparer<Sequence>.Create(Sequence.Compare);

    // Leaves the matched blocks in _matched. The matched ones that nobody references count as available: not twice.
    private bool HasBlocksFor(Sequence sequence, out int missing)
    {
        _cache.Match(sequence, _matched);
        int idle = 0;
        foreach (int block in _matched)
            idle += _cache.IsUnreferenced(block) ? 1 : 0;
        missing = BlocksFor(sequence.Length) - _matched.Count;
        return missing <= _pool.AvailableCount - idle - Reserve;
    }

    // Some blocks stay back for those that run, or every start would soon be followed by a preemption.
    private int Reserve => _running.Count == 0 ? 0 : Math.Min(_running.Count, 1 + _options.BlockCount / 100);

    /// <summary>
    /// Takes blocks back for the next waiting sequence, from sequences of lower priority, or from a session that runs at
    /// least two sequences more: a fair share is worth a recompute, and the difference shrinks with every one.
    /// </summary>
    private void MakeRoomForNext()
    {
        if (_running.Count == 0 || _queue.Next() is not { } next)
            return;
        if (_running.Count < MaxRunning && HasBlocksFor(next, out _))
            return;
        int share = _queue.Running(next.Session);
        if (!CouldMakeRoom(next, share))
            return;
        while ((_running.Count >= MaxRunning || !HasBlocksFor(next, out _)) && VictimFor(next, share) is { } victim)
            Preempt(victim);
    }

    private bool CouldMakeRoom(Sequence next, int share)
    {
        if (VictimFor(next, share) is null)
            return false;
        int gain = 0;
        foreach (Sequence sequence in _running)
        {
            if (IsVictimFor(next, share, sequence))
                gain += sequence.Blocks.Count;
        }

        HasBlocksFor(next, out int missing);
        return missing <= _pool.AvailableCount + gain;
    }

    private Sequence? VictimFor(Sequence next, int share)
    {
        for (int i = _running.Count - 1; i >= 0; i--)
        {
            if (IsVictimFor(next, share, _running[i]))
                return _running[i];
        }

        return null;
    }

    private bool IsVictimFor(Sequence next, int share, Sequence running) =>
        running.StepInFlight < 0
        && (running.Priority > next.Priority
            || (running.Priority == next.Priority && _queue.Running(running.Session) >= share + 2));

    private static void Plan(SchedulerStep step, Sequence sequence)
    {
        int end = sequence.ComputedTokens + sequence.PlannedRows;
        step.RowList.Add(new ScheduledRows(
            sequence,
            sequence.ComputedTokens,
            sequence.PlannedRows,
            Sample: end == sequence.Length && sequence.Length < sequence.MaxLength,
            sequence.Announced.Tokens,
            sequence.Announced.Blocks));
        step.TokenCount += sequence.PlannedRows;
        sequence.PlannedRows = 0;
    }

    private static void Seal(SchedulerStep step)
    {
        foreach (ScheduledRows rows in step.Rows)
        {
            rows.Sequence.StepInFlight = step.Number;
            rows.Sequence.LastStep = step.Number;
            rows.Sequence.Announced = (rows.Sequence.Length, rows.Sequence.Blocks.Count);
        }
    }
}
