using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Tests.Scheduling;

public sealed class SchedulerTests
{
    [Fact]
    public void LongPrompt_IsComputedInChunksOfTheBudget()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(budget: 8));
        Sequence sequence = driver.Add("a", SchedulerDriver.Prompt(19), 3);
        var chunks = new List<int>();
        while (driver.Scheduler.HasWork)
        {
            SchedulerStep step = driver.Scheduler.Schedule()!;
            chunks.Add(step.Rows.Single().Count);
            driver.Commit(step);
        }

        Assert.Equal([8, 8, 3, 1, 1], chunks);
        Assert.Equal(new StepAccount(21, 3, 21), sequence.Account);
        Assert.Equal(sequence.Account, driver.Scheduler.Account);
    }

    [Fact]
    public void Decodes_GoBeforeChunks()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 32, budget: 8));
        Sequence first = driver.Add("a", SchedulerDriver.Prompt(3, 1), 20);
        driver.Step();
        driver.Add("b", SchedulerDriver.Prompt(40, 2), 5);
        for (int i = 0; i < 5; i++)
        {
            SchedulerStep step = driver.Scheduler.Schedule()!;
            Assert.Equal(1, step.Rows.Single(rows => rows.Sequence == first).Count);
            Assert.Equal(8, step.TokenCount);
            driver.Commit(step);
        }
    }

    [Fact]
    public void OnlyTheDifference_IsAnnounced()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small());
        driver.Add("a", SchedulerDriver.Prompt(4), 3);
        SchedulerStep step = driver.Scheduler.Schedule()!;
        Assert.Equal((0, 0), (step.Rows[0].KnownTokens, step.Rows[0].KnownBlocks));
        driver.Commit(step);
        step = driver.Scheduler.Schedule()!;
        Assert.Equal((4, 1), (step.Rows[0].KnownTokens, step.Rows[0].KnownBlocks));
        Assert.Equal((5, 2), (step.Rows[0].Sequence.Length, step.Rows[0].Sequence.Blocks.Count));
        driver.Commit(step);
        driver.Step();
        Sequence next = driver.Add("b", SchedulerDriver.Prompt(2), 1);
        step = driver.Scheduler.Schedule()!;
        Assert.Equal([0], step.Removed);
        Assert.Equal(next, step.Rows.Single().Sequence);
    }

    [Fact]
    public void EqualBeginnings_ShareCommittedBlocks_AndLeaveTheLastTokenToCompute()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 32, budget: 64));
        Sequence first = driver.Add("a", SchedulerDriver.Prompt(8), 5);
        Sequence same = driver.Add("b", SchedulerDriver.Prompt(8), 5);
        driver.Step();
        Assert.Equal((0, 0), (first.CachedTokens, same.CachedTokens));
        Sequence later = driver.Add("c", SchedulerDriver.Prompt(8), 5);
        Sequence longer = driver.Add("d", [.. SchedulerDriver.Prompt(8), 7, 7, 7], 5);
        driver.Step();
        Assert.Equal((4, 8), (later.CachedTokens, longer.CachedTokens));
        Assert.Equal(first.Blocks[0], later.Blocks[0]);
        Assert.Equal(3, driver.Scheduler.Blocks.References(first.Blocks[0]));
        driver.Scheduler.CheckIntegrity();
        driver.RunToEnd();
    }

    [Fact]
    public void UncommittedBlocks_AreNotShared()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 32, budget: 64) with { MaxStepsInFlight = 2 });
        driver.Add("a", SchedulerDriver.Prompt(8), 5);
        SchedulerStep inFlight = driver.Scheduler.Schedule()!;
        Sequence same = driver.Add("b", SchedulerDriver.Prompt(8), 5);
        SchedulerStep second = driver.Scheduler.Schedule()!;
        Assert.Equal(same, second.Rows.Single().Sequence);
        Assert.Equal(0, same.CachedTokens);
        driver.Commit(inFlight);
        driver.Commit(second);
        driver.RunToEnd();
    }

    [Fact]
    public void OtherChoices_WaitForTheFirst_ThenShareItsPrompt()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 64, budget: 8));
        Sequence leader = driver.Make("a", SchedulerDriver.Prompt(21), 4);
        Sequence[] choices = [leader, .. Enumerable.Range(0, 3).Select(_ => driver.Make("a", SchedulerDriver.Prompt(21), 4, leader: leader))];
        Assert.Equal(QueueAnswer.Accepted, driver.Scheduler.TryAdd(choices));
        for (int i = 0; i < 3; i++)
            Assert.Equal(leader, driver.Step()!.Rows.Single().Sequence);
        driver.Step();
        Assert.All(choices[1..], choice => Assert.Equal(20, choice.CachedTokens));
        driver.RunToEnd();
        Assert.Equal(21 + 3 + (3 * 4), driver.Scheduler.Account.Forwarded);
    }

    [Fact]
    public void OtherChoices_GoOn_WhenTheFirstIsCancelled()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 64, budget: 8));
        Sequence leader = driver.Make("a", SchedulerDriver.Prompt(21), 4);
        Sequence other = driver.Make("a", SchedulerDriver.Prompt(21), 4, leader: leader);
        driver.Scheduler.TryAdd([leader, other]);
        driver.Step();
        driver.Scheduler.Cancel(leader);
        driver.RunToEnd();
        Assert.Equal([other], driver.Finished);
    }

    [Fact]
    public void WantedPromptLogprobs_BypassTheCache()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 32, budget: 64));
        driver.Add("a", SchedulerDriver.Prompt(12), 5);
        driver.Step();
        Sequence scored = driver.Make("b", SchedulerDriver.Prompt(12), 5);
        scored.BypassCache = true;
        driver.Scheduler.TryAdd([scored]);
        Assert.Equal(12, driver.Step()!.Rows.Single(rows => rows.Sequence == scored).Count);
    }

    [Fact]
    public void GeneratedRows_AreAnotherBlock_WhereRolesDiffer()
    {
        foreach (bool roles in new[] { false, true })
        {
            var driver = new SchedulerDriver(SchedulerDriver.Small(budget: 64) with { DistinguishRoles = roles });
            Sequence first = driver.Add("a", SchedulerDriver.Prompt(6), 6);
            driver.RunToEnd();
            Sequence again = driver.Add("b", first.Tokens.ToArray(), 1);
            driver.Step();
            Assert.Equal(roles ? 4 : 8, again.CachedTokens);
        }
    }

    [Fact]
    public void FullPool_PreemptsTheLatest_AndRecomputesIt()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 6) with { EnablePrefixCache = false });
        Sequence first = driver.Add("a", SchedulerDriver.Prompt(8, 1), 9, acceptedAt: 1);
        Sequence second = driver.Add("b", SchedulerDriver.Prompt(8, 2), 9, acceptedAt: 2);
        driver.RunToEnd();
        Assert.Equal((0, 1), (first.Preemptions, Math.Min(1, second.Preemptions)));
        Assert.Equal([first, second], driver.Finished);
        Assert.Equal(second.Preemptions, driver.Scheduler.PreemptionCount);
    }

    [Fact]
    public void LowerPriorityNumber_RunsFirst_AndTakesBlocksBack()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 8, sequences: 2));
        Sequence low = driver.Add("a", SchedulerDriver.Prompt(20, 1), 8, priority: 5);
        driver.Step();
        driver.Step();
        Sequence high = driver.Add("b", SchedulerDriver.Prompt(20, 2), 8, priority: -1, acceptedAt: 9);
        Snapshot step = driver.Step()!;
        Assert.Equal(high, step.Rows.Single().Sequence);
        Assert.Equal([low.Id], step.Removed);
        driver.RunToEnd();
        Assert.Equal([high, low], driver.Finished);
        Assert.Equal(1, low.Preemptions);
    }

    [Fact]
    public void ManyChoices_DoNotStarveAnotherSession()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 400, sequences: 8));
        for (int i = 0; i < 128; i++)
            driver.Add("many", SchedulerDriver.Prompt(3, i), 100, acceptedAt: 1);
        for (int i = 0; i < 10; i++)
            driver.Step();
        Assert.Equal(8, driver.Scheduler.RunningCount);
        Sequence[] others = [.. Enumerable.Range(0, 4).Select(i => driver.Add($"one{i}", SchedulerDriver.Prompt(3, 200 + i), 20, acceptedAt: 2))];
        int steps = 0;
        while (others.Any(other => other.State != SequenceState.Finished))
        {
            driver.Step();
            Assert.True(++steps <= 30, "Four single sequences should get through beside 128 choices.");
        }
    }

    [Fact]
    public void SmallBudget_GoesRound()
    {
        // As with three pipeline stages of which two are empty: six run, every step serves two.
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 64, budget: 2, sequences: 8) with { MaxStepsInFlight = 3 });
        Sequence[] all = [.. Enumerable.Range(0, 6).Select(i => driver.Add($"s{i}", SchedulerDriver.Prompt(1, i), 10))];
        var first = driver.Scheduler.Schedule()!;
        var second = driver.Scheduler.Schedule()!;
        var third = driver.Scheduler.Schedule()!;
        Assert.Equal(6, driver.Scheduler.RunningCount);
        driver.Commit(first);
        driver.Commit(second);
        driver.Commit(third);
        for (int i = 0; i < 13; i++)
        {
            driver.Step();
            Assert.InRange(all.Max(sequence => sequence.GeneratedCount) - all.Min(sequence => sequence.GeneratedCount), 0, 1);
        }

        driver.RunToEnd();
    }

    [Fact]
    public void LongPrompt_LeavesRoomForAShortOne()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 300, budget: 16));
        driver.Add("long", SchedulerDriver.Prompt(1000, 1), 4);
        driver.Step();
        Sequence brief = driver.Add("short", SchedulerDriver.Prompt(4, 2), 4);
        for (int i = 0; i < 6; i++)
            driver.Step();
        Assert.Equal(SequenceState.Finished, brief.State);
        driver.RunToEnd();
    }

    [Fact]
    public void QueueOverflow_IsAValue()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(sequences: 2, queue: 3));
        for (int i = 0; i < 5; i++)
            driver.Add($"s{i}", SchedulerDriver.Prompt(2, i), 4);
        Assert.Equal(QueueAnswer.QueueFull, driver.Scheduler.TryAdd([driver.Make("x", SchedulerDriver.Prompt(2), 4)]));
        driver.Step();
        Assert.Equal((2, 3), (driver.Scheduler.RunningCount, driver.Scheduler.WaitingCount));
        Assert.Equal(QueueAnswer.QueueFull, driver.Scheduler.TryAdd([driver.Make("x", SchedulerDriver.Prompt(2), 4)]));
        Assert.Equal(3, driver.Scheduler.WaitingCount);
        driver.RunToEnd();
        Assert.Equal(QueueAnswer.Accepted, driver.Scheduler.TryAdd([.. Enumerable.Range(0, 9).Select(i => driver.Make("x", SchedulerDriver.Prompt(2, i), 2))]));
        driver.RunToEnd();
    }

    [Fact]
    public void SequenceLargerThanThePool_IsRefused_TheLargestThatFitsFinishes()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 4, blockSize: 4));
        Assert.Equal(QueueAnswer.TooLong, driver.Scheduler.TryAdd([driver.Make("a", SchedulerDriver.Prompt(8), 10)]));
        driver.Add("b", SchedulerDriver.Prompt(8), 9);
        driver.Add("c", SchedulerDriver.Prompt(16), 1);
        driver.RunToEnd();
        Assert.Equal(2, driver.Finished.Count);
    }

    [Fact]
    public void Cancel_FreesBlocksAtOnce_AlsoInFlight()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small());
        Sequence sequence = driver.Add("a", SchedulerDriver.Prompt(10), 5);
        SchedulerStep step = driver.Scheduler.Schedule()!;
        Assert.Equal(3, driver.Scheduler.Blocks.UsedCount);
        driver.Scheduler.Cancel(sequence);
        Assert.Equal(0, driver.Scheduler.Blocks.UsedCount);
        driver.Commit(step);
        Assert.False(driver.Scheduler.HasWork);
        Assert.Empty(driver.Finished);
        driver.Scheduler.Cancel(sequence);
        driver.Scheduler.CheckIntegrity();
    }

    [Fact]
    public void MaxTokensZero_ComputesThePromptAndEnds()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small());
        Sequence sequence = driver.Add("a", SchedulerDriver.Prompt(20), 0);
        driver.RunToEnd();
        Assert.Equal((20, SequenceState.Finished), (sequence.Length, sequence.State));
    }

    [Fact]
    public void Misuse_Throws()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small());
        driver.Add("a", SchedulerDriver.Prompt(3), 3);
        driver.Add("b", SchedulerDriver.Prompt(3, 1), 3);
        SchedulerStep step = driver.Scheduler.Schedule()!;
        Assert.Throws<InvalidOperationException>(() => driver.Scheduler.Schedule());
        Assert.Throws<InvalidOperationException>(() => driver.Scheduler.Commit(step, 1, [1], 3, false));
        Assert.Throws<InvalidOperationException>(() => driver.Scheduler.Complete(step));
        Assert.Throws<InvalidOperationException>(() => driver.Scheduler.Commit(step, 0, [], 3, false));
    }

    [Fact]
    public void IsolatedSequences_RunAlone_WaitingOnesFirst()
    {
        var driver = new SchedulerDriver(SchedulerDriver.Small(blocks: 64, budget: 64));
        Sequence[] all = [.. Enumerable.Range(0, 4).Select(i => driver.Add($"s{i}", SchedulerDriver.Prompt(3, i), 6))];
        driver.Scheduler.IsolateSequences = true;
        for (int i = 0; i < 8; i++)
            Assert.Equal(all[i % 4], Assert.Single(driver.Step()!.Rows).Sequence);
        driver.Scheduler.IsolateSequences = false;
        Assert.Equal(4, driver.Step()!.Rows.Count);
        driver.RunToEnd();
    }

    /// <summary>Garbage per step, pinned: what grows with the tokens (token arrays, hashes), and nothing else.</summary>
    [Fact]
    public void SteadyDecode_AllocatesLittle()
    {
        const int steps = 1000;
        var scheduler = new Scheduler(SchedulerDriver.Small(blocks: 4000, blockSize: 16, budget: 512, sequences: 32));
        scheduler.TryAdd([.. Enumerable.Range(0, 32).Select(i => new Sequence(i, "s", SchedulerDriver.Prompt(10, i), [], steps + 100))]);
        int[] token = [1];
        for (int i = 0; i < 50; i++)
            Advance();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < steps; i++)
            Advance();
        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / steps, 0, 1000);

        void Advance()
        {
            SchedulerStep step = scheduler.Schedule()!;
            for (int i = 0; i < step.RowList.Count; i++)
                scheduler.Commit(step, i, token, step.RowList[i].Count, ended: false);
            scheduler.Complete(step);
        }
    }
}
