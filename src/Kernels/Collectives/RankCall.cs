using System.Globalization;

namespace Cluster.Kernels.Collectives;

/// <summary>One rank's call of one operation. The pointers live as long as the call.</summary>
internal unsafe struct RankCall
{
    public CollectiveOp Operation;
    public int Tag;

    /// <summary>Root of a broadcast, the other rank of send and receive; else 0.</summary>
    public int Peer;

    public byte* Input;
    public long InputBytes;
    public byte* Output;
    public long OutputBytes;

    /// <summary>Floats of each part (reduce-scatter), bytes of each part (all-to-all), or null.</summary>
    public int* SendCounts;

    /// <summary>Bytes of each part (all-gather, all-to-all), or null.</summary>
    public int* ReceiveCounts;

    /// <summary>First difference between two ranks' calls that makes them two programs, or null.</summary>
    public static string? Difference(in RankCall mine, int me, in RankCall theirs, int them, int size)
    {
        bool same = mine.Operation == theirs.Operation && mine.Tag == theirs.Tag && mine.Peer == theirs.Peer && mine.Operation switch
        {
            CollectiveOp.AllReduce or CollectiveOp.Broadcast => mine.InputBytes == theirs.InputBytes,
            CollectiveOp.ReduceScatter => SameCounts(mine.SendCounts, theirs.SendCounts, size),
            CollectiveOp.AllGather => SameCounts(mine.ReceiveCounts, theirs.ReceiveCounts, size),
            CollectiveOp.AllToAll => mine.SendCounts[them] == theirs.ReceiveCounts[me] && theirs.SendCounts[me] == mine.ReceiveCounts[them],
            _ => true,
        };
        return same ? null : me < them ? Differ(mine, me, theirs, them) : Differ(theirs, them, mine, me);
    }

    /// <summary>The call in words.</summary>
    public readonly string Describe()
    {
        string peer = Operation switch
        {
            CollectiveOp.Broadcast or CollectiveOp.Receive => string.Create(CultureInfo.InvariantCulture, $" from rank {Peer}"),
            CollectiveOp.Send => string.Create(CultureInfo.InvariantCulture, $" to rank {Peer}"),
            _ => "",
        };
        return string.Create(CultureInfo.InvariantCulture, $"{Operation} tag {Tag} of {Math.Max(InputBytes, OutputBytes)} bytes{peer}");
    }

    /// <summary>Two calls that do not belong together, in words.</summary>
    public static string Differ(in RankCall one, int rank, in RankCall other, int otherRank) =>
        string.Create(CultureInfo.InvariantCulture, $"rank {rank} called {one.Describe()}, rank {otherRank} called {other.Describe()}");

    private static bool SameCounts(int* mine, int* theirs, int size) =>
        new ReadOnlySpan<int>(mine, size).SequenceEqual(new ReadOnlySpan<int>(theirs, size));
}
