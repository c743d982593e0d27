namespace Cluster.Kernels.Collectives;

/// <summary>
/// Ranks that exchange tensors. All ranks run the same program (SPMD): every rank calls the same collective operations with the
/// same tags and lengths in the same order; whoever differs, and everybody else, gets a <see cref="ProcessGroupException"/> that
/// names both calls. Operations block the calling thread (a device thread): a short spin, then a park. They are called by one
/// thread at a time per rank, a group and its subgroups together; <see cref="Abort"/>, Dispose, <see cref="Failure"/>,
/// <see cref="Failed"/> and <see cref="Ledger"/> are free for any thread. In steady state no operation allocates.
/// </summary>
/// <remarks>
/// Sums are fp32 and combine the ranks in one fixed tree, so that they depend neither on timing nor on the medium: neighbours in
/// rank order first, ((0+1)+(2+3))+((4+5)+(6+7)); with other counts the left parts are the full ones, as in ((0+1)+(2+3))+4 or
/// (0+1)+2. Counts are in bytes, of a sum in floats; empty data is allowed everywhere. All spans stay the caller's: when an operation
/// returns or throws, nobody reads or writes them any more.
/// </remarks>
public interface IProcessGroup : IDisposable
{
    /// <summary>Largest tag.</summary>
    const int MaxTag = 255;

    /// <summary>This rank, 0 to <see cref="Size"/> - 1.</summary>
    int Rank { get; }

    /// <summary>Number of ranks.</summary>
    int Size { get; }

    /// <summary>The replica's epoch that all ranks agreed on when they met.</summary>
    long Epoch { get; }

    /// <summary>Exact bytes and rounds of this rank, by tag.</summary>
    CommunicationLedger Ledger { get; }

    /// <summary>The first failure, or null as long as the group is whole.</summary>
    ProcessGroupException? Failure { get; }

    /// <summary>Is cancelled when the group has failed, also while no operation runs.</summary>
    CancellationToken Failed { get; }

    /// <summary>data = sum over ranks of data, the same bits on every rank. 2 (N-1)/N of the data leaves a rank; a short one as a whole to each.</summary>
    void AllReduce(Span<float> data, int tag);

    /// <summary>output = this rank's part of the sum over ranks of input.</summary>
    /// <param name="input">All parts, in rank order.</param>
    /// <param name="counts">Floats of each rank's part: the same on every rank.</param>
    /// <param name="output">counts[Rank] floats; may be this rank's part of input itself.</param>
    /// <param name="tag">0 to <see cref="MaxTag"/>.</param>
    void ReduceScatter(ReadOnlySpan<float> input, ReadOnlySpan<int> counts, Span<float> output, int tag);

    /// <summary>output = the inputs of all ranks, in rank order.</summary>
    /// <param name="input">counts[Rank] bytes; may be this rank's part of output itself.</param>
    /// <param name="counts">Bytes of each rank's part: the same on every rank.</param>
    /// <param name="output">All parts.</param>
    /// <param name="tag">0 to <see cref="MaxTag"/>.</param>
    void AllGather(ReadOnlySpan<byte> input, ReadOnlySpan<int> counts, Span<byte> output, int tag);

    /// <summary>Part r of input goes to rank r; part r of output comes from rank r.</summary>
    /// <param name="input">Parts in the order of the ranks they go to.</param>
    /// <param name="sendCounts">Bytes of each.</param>
    /// <param name="output">Parts in the order of the ranks they come from; does not overlap input.</param>
    /// <param name="receiveCounts">Bytes of each: what rank r sends here.</param>
    /// <param name="tag">0 to <see cref="MaxTag"/>.</param>
    void AllToAll(ReadOnlySpan<byte> input, ReadOnlySpan<int> sendCounts, Span<byte> output, ReadOnlySpan<int> receiveCounts, int tag);

    /// <summary>data = root's data, everywhere.</summary>
    void Broadcast(int root, Span<byte> data, int tag);

    /// <summary>Returns when every rank has come.</summary>
    void Barrier(int tag);

    /// <summary>
    /// Hands data to a rank. Returns when data may be reused: at once while the bounded buffer towards that rank has room,
    /// else when the rank has received enough. Messages of one tag arrive in order; tags are independent of each other.
    /// </summary>
    void Send(int peer, ReadOnlySpan<byte> data, int tag);

    /// <summary>Takes the next message of that rank and tag, whose length must be data's.</summary>
    void Receive(int peer, Span<byte> data, int tag);

    /// <summary>
    /// A group of some of these ranks over the same connections, called by its members alone, all with the same ranks. A failure of
    /// either is a failure of both; Dispose of the outermost group ends both, of a subgroup nothing. Set-up, not for every step.
    /// </summary>
    /// <param name="ranks">Ranks of this group, this one among them; their order gives the ranks of the new group.</param>
    IProcessGroup Subgroup(ReadOnlySpan<int> ranks);

    /// <summary>Fails the group on every rank. The first failure stays.</summary>
    void Abort(string reason);
}
