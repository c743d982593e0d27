namespace Cluster.Kernels.Collectives;

/// <summary>What all media share: checks of the caller's arguments, failure, the ledger. A medium runs one call at a time.</summary>
internal abstract unsafe class ProcessGroup(int rank, int size, long epoch, GroupFailure failure, ProcessGroupOptions options, bool isSubgroup) : IProcessGroup
{
    public int Rank { get; } = rank;

    public int Size { get; } = size;

    public long Epoch { get; } = epoch;

    public CommunicationLedger Ledger { get; } = new();

    public ProcessGroupException? Failure => Faults.IsFailed ? Faults.AsSeenBy(Rank, CollectiveOp.None, -1) : null;

    public CancellationToken Failed => Faults.Token;

    protected GroupFailure Faults { get; } = failure;

    protected ProcessGroupOptions Options { get; } = options;

    /// <summary>Carries out a call of a group of at least two ranks; throws only when the group has failed.</summary>
    /// <returns>Rounds and bytes.</returns>
    protected abstract LedgerEntry Run(ref RankCall call);

    /// <summary>A medium's group of some ranks.</summary>
    protected abstract IProcessGroup CreateSubgroup(int[] ranks, int rank);

    public void AllReduce(Span<float> data, int tag)
    {
        fixed (float* start = data)
        {
            var call = new RankCall { Operation = CollectiveOp.AllReduce, Tag = tag, Input = (byte*)start, Output = (byte*)start, InputBytes = 4L * data.Length, OutputBytes = 4L * data.Length };
            Execute(ref call);
        }
    }

    public void ReduceScatter(ReadOnlySpan<float> input, ReadOnlySpan<int> counts, Span<float> output, int tag)
    {
        CheckCounts(counts, input.Length, nameof(input));
        CheckLength(output.Length, counts[Rank], nameof(output));
        fixed (float* from = input, to = output)
        fixed (int* parts = counts)
        {
            var call = new RankCall { Operation = CollectiveOp.ReduceScatter, Tag = tag, Input = (byte*)from, InputBytes = 4L * input.Length, Output = (byte*)to, OutputBytes = 4L * output.Length, SendCounts = parts };
            Execute(ref call);
        }
    }

    public void AllGather(ReadOnlySpan<byte> input, ReadOnlySpan<int> counts, Span<byte> output, int tag)
    {
        CheckCounts(counts, output.Length, nameof(output));
        CheckLength(input.Length, counts[Rank], nameof(input));
        fixed (byte* from = input, to = output)
        fixed (int* parts = counts)
        {
            var call = new RankCall { Operation = CollectiveOp.AllGather, Tag = tag, Input = from, InputBytes = input.Length, Output = to, OutputBytes = output.Length, ReceiveCounts = parts };
            Execute(ref call);
        }
    }

    public void AllToAll(ReadOnlySpan<byte> input, ReadOnlySpan<int> sendCounts, Span<byte> output, ReadOnlySpan<int> receiveCounts, int tag)
    {
        CheckCounts(sendCounts, input.Length, nameof(input));
        CheckCounts(receiveCounts, output.Length, nameof(output));
        CheckLength(receiveCounts[Rank], sendCounts[Rank], nameof(receiveCounts));
        fixed (byte* from = input, to = output)
        fixed (int* outgoing = sendCounts, incoming = receiveCounts)
        {
            var call = new RankCall { Operation = CollectiveOp.AllToAll, Tag = tag, Input = from, InputBytes = input.Length, Output = to, OutputBytes = output.Length, SendCounts = outgoing, ReceiveCounts = incoming };
            Execute(ref call);
        }
    }

    public void Send(int peer, ReadOnlySpan<byte> data, int tag)
    {
        CheckPeer(peer);
        fixed (byte* start = data)
        {
            var call = new RankCall { Operation = CollectiveOp.Send, Tag = tag, Peer = peer, Input = start, InputBytes = data.Length };
            Execute(ref call);
        }
    }

    public void Receive(int peer, Span<byte> data, int tag)
    {
        CheckPeer(peer);
        fixed (byte* start = data)
        {
            var call = new RankCall { Operation = CollectiveOp.Receive, Tag = tag, Peer = peer, Output = start, OutputBytes = data.Length };
            Execute(ref call);
        }
    }

    public void Broadcast(int root, Span<byte> data, int tag)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(root);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(root, Size);
        fixed (byte* start = data)
        {
            var call = new RankCall { Operation = CollectiveOp.Broadcast, Tag = tag, Peer = root, Input = start, Output = start, InputBytes = data.Length, OutputBytes = data.Length };
            Execute(ref call);
        }
    }

    public void Barrier(int tag)
    {
        var call = new RankCall { Operation = CollectiveOp.Barrier, Tag = tag };
        Execute(ref call);
    }

    public IProcessGroup Subgroup(ReadOnlySpan<int> ranks)
    {
        int[] members = ranks.ToArray();
        if (members.Length == 0 || members.Any(member => member < 0 || member >= Size) || members.Distinct().Count() != members.Length)
            throw new ArgumentException($"Ranks must be different ones of 0 to {Size - 1}, were [{string.Join(", ", members)}].", nameof(ranks));
        int rank = Array.IndexOf(members, Rank);
        if (rank < 0)
            throw new ArgumentException($"Rank {Rank} must be among the ranks of its subgroup, which were [{string.Join(", ", members)}].", nameof(ranks));
        if (Faults.IsFailed)
            throw Faults.AsSeenBy(Rank, CollectiveOp.None, -1);
        return CreateSubgroup(members, rank);
    }

    public void Abort(string reason) => Faults.Fail(ProcessGroupFault.Aborted, RootRank, reason);

    public void Dispose()
    {
        if (!isSubgroup)
            Leave();
    }

    /// <summary>The outermost group ends on this rank.</summary>
    protected virtual void Leave() => Faults.Fail(ProcessGroupFault.Disposed, RootRank, "the group was disposed");

    /// <summary>This rank, counted in the outermost group.</summary>
    protected abstract int RootRank { get; }

    private void Execute(ref RankCall call)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(call.Tag, "tag");
        ArgumentOutOfRangeException.ThrowIfGreaterThan(call.Tag, IProcessGroup.MaxTag, "tag");
        if (Faults.IsFailed)
            throw Faults.AsSeenBy(Rank, call.Operation, call.Tag);
        if (Size > 1)
            Ledger.Add(call.Tag, Run(ref call));
        else
            RunAlone(ref call);
    }

    private void RunAlone(ref RankCall call)
    {
        if (call.Output != call.Input && call.OutputBytes > 0)
            Buffer.MemoryCopy(call.Input, call.Output, call.OutputBytes, call.InputBytes);
        Ledger.Add(call.Tag, new LedgerEntry(1, 0, 0, 0));
    }

    private void CheckPeer(int peer)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(peer);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(peer, Size);
        ArgumentOutOfRangeException.ThrowIfEqual(peer, Rank);
    }

    private void CheckCounts(ReadOnlySpan<int> counts, int length, string name)
    {
        if (counts.Length != Size)
            throw new ArgumentException($"Counts must be one per rank ({Size}), were {counts.Length}.", nameof(counts));
        long sum = 0;
        foreach (int count in counts)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(count, nameof(counts));
            sum += count;
        }

        CheckLength(length, sum, name);
    }

    private static void CheckLength(long actual, long expected, string name)
    {
        if (actual != expected)
            throw new ArgumentException($"{name} must be as long as its counts say ({expected}), was {actual}.", name);
    }
}
