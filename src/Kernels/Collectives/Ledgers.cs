namespace Cluster.Kernels.Collectives;

/// <summary>What an operation moves on a rank: it follows from the call alone.</summary>
internal static unsafe class Ledgers
{
    /// <summary>Each rank sums one slice and gives it to all.</summary>
    public static LedgerEntry AllReduceInSlices(int length, int size, int rank)
    {
        long own = RankSlices.Count(length, size, rank), others = length - own;
        long moved = 4 * (others + ((size - 1) * own));
        return new LedgerEntry(1, 2, moved, moved);
    }

    /// <summary>Each rank gives all its data to all.</summary>
    public static LedgerEntry AllReduceWhole(int length, int size)
    {
        long moved = 4L * length * (size - 1);
        return new LedgerEntry(1, 1, moved, moved);
    }

    public static LedgerEntry ReduceScatter(in RankCall call, int size, int rank)
    {
        long own = 4L * call.SendCounts[rank];
        return new LedgerEntry(1, 1, call.InputBytes - own, own * (size - 1));
    }

    public static LedgerEntry AllGather(in RankCall call, int size, int rank) =>
        new(1, 1, (size - 1) * (long)call.ReceiveCounts[rank], call.OutputBytes - call.ReceiveCounts[rank]);

    public static LedgerEntry AllToAll(in RankCall call, int rank) =>
        new(1, 1, call.InputBytes - call.SendCounts[rank], call.OutputBytes - call.ReceiveCounts[rank]);

    public static LedgerEntry Broadcast(in RankCall call, int size, int rank) =>
        rank == call.Peer ? new LedgerEntry(1, 1, (size - 1) * call.InputBytes, 0) : new LedgerEntry(1, 1, 0, call.InputBytes);
}
