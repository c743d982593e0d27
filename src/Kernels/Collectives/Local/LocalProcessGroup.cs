namespace Cluster.Kernels.Collectives;

/// <summary>
/// A rank among threads of one process. In a collective operation every rank shows its call and comes to a phase; once all
/// have come, each copies (or sums) what it needs straight out of the others' spans; a last phase keeps the spans in place until
/// everybody is done. An all-reduce sums a slice on each rank, in place, and copies the other slices from their ranks.
/// </summary>
/// <remarks>
/// A rank that leaves with a failure gives its memory back, so nobody may still read it: readers raise a flag before they look at
/// the failure, and who leaves waits, after the failure is known, until no flag is up.
/// </remarks>
internal sealed unsafe class LocalProcessGroup(LocalHub hub, int rank, long epoch, ProcessGroupOptions options, bool isSubgroup)
    : ProcessGroup(rank, hub.Size, epoch, hub.Failure, options, isSubgroup)
{
    private readonly Dictionary<string, int> _subgroups = [];
    private long _calls;
    private long _phase;

    protected override int RootRank => hub.RootRanks[Rank];

    protected override LedgerEntry Run(ref RankCall call)
    {
        try
        {
            return call.Operation switch
            {
                CollectiveOp.Send => Give(ref call),
                CollectiveOp.Receive => Take(ref call),
                _ => Together(ref call),
            };
        }
        catch (Exception e)
        {
            hub.Failure.Fail(ProcessGroupFault.Aborted, RootRank, e.Message, e);
            AwaitReaders();
            if (e is ProcessGroupException)
                throw;
            throw hub.Failure.AsSeenBy(Rank, call.Operation, call.Tag);
        }
    }

    protected override IProcessGroup CreateSubgroup(int[] ranks, int rank)
    {
        string key = string.Join(',', ranks);
        int ordinal = _subgroups.GetValueOrDefault(key);
        _subgroups[key] = ordinal + 1;
        return new LocalProcessGroup(hub.Child(ranks, ordinal), rank, Epoch, Options, isSubgroup: true);
    }

    private LedgerEntry Together(ref RankCall call)
    {
        _calls++;
        CallOf(Rank) = call;
        Reach(ref call);
        for (int other = 0; other < Size; other++)
        {
            if (RankCall.Difference(call, Rank, CallOf(other), other, Size) is { } difference)
                throw Fail(ref call, ProcessGroupFault.Mismatch, other, difference);
        }

        LedgerEntry moved = call.Operation switch
        {
            CollectiveOp.AllReduce => AllReduce(ref call),
            CollectiveOp.ReduceScatter => ReduceScatter(ref call),
            CollectiveOp.AllGather => AllGather(ref call),
            CollectiveOp.AllToAll => AllToAll(ref call),
            CollectiveOp.Broadcast => Broadcast(ref call),
            _ => new LedgerEntry(1, 1, 0, 0),
        };
        if (call.Operation != CollectiveOp.Barrier)
            Reach(ref call);
        return moved;
    }

    private LedgerEntry AllReduce(ref RankCall call)
    {
        int length = (int)(call.InputBytes / sizeof(float));
        int start = RankSlices.Start(length, Size, Rank), count = RankSlices.Count(length, Size, Rank);
        BeginReading(ref call);
        Sum(start, count, (float*)call.Output + start);
        EndReading();
        Reach(ref call);
        BeginReading(ref call);
        for (int step = 1; step < Size; step++)
        {
            int other = (Rank + step) % Size;
            int from = RankSlices.Start(length, Size, other), floats = RankSlices.Count(length, Size, other);
            Copy(CallOf(other).Output + (4L * from), call.Output + (4L * from), 4L * floats);
        }

        EndReading();
        return Ledgers.AllReduceInSlices(length, Size, Rank);
    }

    private LedgerEntry ReduceScatter(ref RankCall call)
    {
        int start = 0;
        for (int other = 0; other < Rank; other++)
            start += call.SendCounts[other];
        BeginReading(ref call);
        Sum(start, call.SendCounts[Rank], (float*)call.Output);
        EndReading();
        return Ledgers.ReduceScatter(call, Size, Rank);
    }

    private LedgerEntry AllGather(ref RankCall call)
    {
        BeginReading(ref call);
        long start = 0;
        for (int other = 0; other < Size; other++)
        {
            Copy(CallOf(other).Input, call.Output + start, call.ReceiveCounts[other]);
            start += call.ReceiveCounts[other];
        }

        EndReading();
        return Ledgers.AllGather(call, Size, Rank);
    }

    private LedgerEntry AllToAll(ref RankCall call)
    {
        BeginReading(ref call);
        long start = 0;
        for (int other = 0; other < Size; other++)
        {
            ref RankCall theirs = ref CallOf(other);
            long from = 0;
            for (int before = 0; before < Rank; before++)
                from += theirs.SendCounts[before];
            Copy(theirs.Input + from, call.Output + start, call.ReceiveCounts[other]);
            start += call.ReceiveCounts[other];
        }

        EndReading();
        return Ledgers.AllToAll(call, Rank);
    }

    private LedgerEntry Broadcast(ref RankCall call)
    {
        if (Rank != call.Peer)
        {
            BeginReading(ref call);
            Copy(CallOf(call.Peer).Input, call.Output, call.OutputBytes);
            EndReading();
        }

        return Ledgers.Broadcast(call, Size, Rank);
    }

    private LedgerEntry Give(ref RankCall call)
    {
        LocalMailbox mailbox = hub.Mailbox(Rank, call.Peer);
        long ticket = mailbox.Give(call.Tag, call.Input, checked((int)call.InputBytes));
        hub.Parker(call.Peer).Wake();
        if (ticket > 0)
        {
            var taken = new MailCondition(hub, mailbox, call.Peer, _phase, 0, ticket);
            try
            {
                AwaitMail(ref call, ref taken);
                if (mailbox.Taken != ticket)
                    throw PeerElsewhere(ref call);
            }
            finally
            {
                mailbox.Forget(call.Input);
            }
        }

        return new LedgerEntry(1, 1, call.InputBytes, 0);
    }

    private LedgerEntry Take(ref RankCall call)
    {
        LocalMailbox mailbox = hub.Mailbox(call.Peer, Rank);
        while (true)
        {
            bool peerWasAhead = new MailCondition(hub, mailbox, call.Peer, _phase, 0, 0).PeerIsAhead;
            int version = mailbox.Version;
            long bytes = mailbox.Take(call.Tag, call.Output, checked((int)call.OutputBytes));
            if (bytes >= 0)
            {
                if (bytes != call.OutputBytes)
                    throw Unequal(ref call, bytes);
                hub.Parker(call.Peer).Wake();
                return new LedgerEntry(1, 1, 0, bytes);
            }

            try
            {
                if (peerWasAhead)
                    throw PeerElsewhere(ref call);
                var come = new MailCondition(hub, mailbox, call.Peer, _phase, version, 0);
                AwaitMail(ref call, ref come);
            }
            finally
            {
                if (mailbox.Withdraw())
                    bytes = call.OutputBytes;
            }

            if (bytes >= 0)
                return new LedgerEntry(1, 1, 0, bytes);
        }
    }

    private void AwaitMail(ref RankCall call, ref MailCondition condition)
    {
        if (!hub.Parker(Rank).WaitUntil(ref condition, Options.OperationTimeout))
            throw TimedOut(ref call, call.Peer);
        if (hub.Failure.IsFailed)
            throw hub.Failure.AsSeenBy(Rank, call.Operation, call.Tag);
    }

    // Shows the others that this rank has come to its next phase, and waits for them.
    private void Reach(ref RankCall call)
    {
        hub.Advance(Rank, ++_phase);
        var condition = new PhaseCondition(hub, _phase);
        bool inTime = hub.Parker(Rank).WaitUntil(ref condition, Options.OperationTimeout);
        if (condition.Missing == Size)
            return;         // whoever fails after that fails in what it does next
        if (!inTime)
            throw TimedOut(ref call, condition.Missing);
        throw hub.Failure.AsSeenBy(Rank, call.Operation, call.Tag);
    }

    private ref RankCall CallOf(int other) => ref LocalSlot.Call(ref hub.Slot(other), _calls);

    private void Sum(int start, int count, float* destination)
    {
        float** sources = stackalloc float*[Size];
        for (int other = 0; other < Size; other++)
            sources[other] = (float*)CallOf(other).Input + start;
        TreeSum.Add(sources, Size, destination, count);
    }

    private void BeginReading(ref RankCall call)
    {
        Interlocked.Exchange(ref hub.Slot(Rank).Reading, 1);
        if (!hub.Failure.IsFailed)
            return;
        EndReading();
        throw hub.Failure.AsSeenBy(Rank, call.Operation, call.Tag);
    }

    private void EndReading() => Volatile.Write(ref hub.Slot(Rank).Reading, 0);

    private void AwaitReaders()
    {
        EndReading();
        Interlocked.MemoryBarrier();
        for (int other = 0; other < Size; other++)
        {
            var spin = default(SpinWait);
            while (Volatile.Read(ref hub.Slot(other).Reading) != 0)
                spin.SpinOnce();
        }
    }

    private static void Copy(byte* from, byte* to, long bytes)
    {
        if (from != to && bytes > 0)
            Buffer.MemoryCopy(from, to, bytes, bytes);
    }

    private ProcessGroupException PeerElsewhere(ref RankCall call) => Fail(
        ref call, ProcessGroupFault.Mismatch, call.Peer, RankCall.Differ(call, Rank, LocalSlot.Call(ref hub.Slot(call.Peer), _calls + 1), call.Peer));

    private ProcessGroupException Unequal(ref RankCall call, long bytes)
    {
        var theirs = new RankCall { Operation = CollectiveOp.Send, Tag = call.Tag, Peer = Rank, InputBytes = bytes };
        return Fail(ref call, ProcessGroupFault.Mismatch, call.Peer, RankCall.Differ(call, Rank, theirs, call.Peer));
    }

    private ProcessGroupException TimedOut(ref RankCall call, int peer) => Fail(
        ref call, ProcessGroupFault.Timeout, peer, $"rank {peer} did not come within {Options.OperationTimeout.TotalSeconds} s to {call.Describe()} of rank {Rank}");

    private ProcessGroupException Fail(ref RankCall call, ProcessGroupFault cause, int peer, string reason)
    {
        hub.Failure.Fail(cause, hub.RootRanks[peer], reason);
        return hub.Failure.AsSeenBy(Rank, call.Operation, call.Tag);
    }
}
