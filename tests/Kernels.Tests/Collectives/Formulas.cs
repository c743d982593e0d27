using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>Closed formulas for what the ledgers must say after one operation (N ranks, counts in bytes).</summary>
internal static class Formulas
{
    public static void AllReduce(IReadOnlyList<IProcessGroup> ranks, int tag, int length)
    {
        int n = ranks.Count;
        LedgerEntry[] entries = [.. ranks.Select(rank => rank.Ledger[tag])];
        long rounds = entries[0].Rounds;
        Assert.All(entries, entry => Assert.Equal((1, rounds), (entry.Operations, entry.Rounds)));
        // In slices 2 (N-1) L in all, in one round as a whole N (N-1) L.
        long all = n == 1 ? 0 : rounds == 2 ? 8L * (n - 1) * length : 4L * n * (n - 1) * length;
        Assert.Equal(n == 1 ? 0 : Math.Clamp(rounds, 1, 2), rounds);
        Assert.Equal((all, all), (entries.Sum(entry => entry.BytesSent), entries.Sum(entry => entry.BytesReceived)));
        if (rounds == 2 && length % (16 * n) == 0)
            Assert.All(entries, entry => Assert.Equal((all / n, all / n), (entry.BytesSent, entry.BytesReceived)));
    }

    public static void ReduceScatter(IReadOnlyList<IProcessGroup> ranks, int tag, int[] counts) => Same(ranks, tag, rank =>
        new LedgerEntry(1, Rounds(ranks), 4L * (counts.Sum() - counts[rank]), 4L * (ranks.Count - 1) * counts[rank]));

    public static void AllGather(IReadOnlyList<IProcessGroup> ranks, int tag, int[] counts) => Same(ranks, tag, rank =>
        new LedgerEntry(1, Rounds(ranks), (ranks.Count - 1L) * counts[rank], counts.Sum() - counts[rank]));

    public static void AllToAll(IReadOnlyList<IProcessGroup> ranks, int tag, int[][] counts) => Same(ranks, tag, rank =>
        new LedgerEntry(1, Rounds(ranks), counts[rank].Sum() - counts[rank][rank], counts.Sum(row => row[rank]) - counts[rank][rank]));

    public static void BroadcastFromEveryRoot(IReadOnlyList<IProcessGroup> ranks, int tag, int length) => Same(ranks, tag, rank =>
        new LedgerEntry(ranks.Count, ranks.Count * Rounds(ranks), (ranks.Count - 1L) * length, (ranks.Count - 1L) * length));

    public static void Same(IReadOnlyList<IProcessGroup> ranks, int tag, Func<int, LedgerEntry> formula)
    {
        for (int rank = 0; rank < ranks.Count; rank++)
            Assert.Equal(formula(rank), ranks[rank].Ledger[tag]);
    }

    private static int Rounds(IReadOnlyList<IProcessGroup> ranks) => ranks.Count == 1 ? 0 : 1;
}
