using System.Runtime.InteropServices;

namespace Cluster.Kernels.Collectives;

/// <summary>What a rank shows the others: how far it is and what it called. On cache lines of its own; the reader's flag on others.</summary>
[StructLayout(LayoutKind.Explicit, Size = 512)]
internal struct LocalSlot
{
    /// <summary>Steps of collectives that this rank has reached; the call is valid from the first to the last step of an operation.</summary>
    [FieldOffset(128)]
    public long Phase;

    /// <summary>1 while this rank reads memory of others.</summary>
    [FieldOffset(384)]
    public int Reading;

    // Two calls in turn: from a barrier a fast rank goes on to its next call while a slow one still compares the barrier's.
    [FieldOffset(136)]
    private RankCall _even;

    [FieldOffset(208)]
    private RankCall _odd;

    /// <summary>The rank's n-th collective call.</summary>
    public static ref RankCall Call(ref LocalSlot slot, long number)
    {
        if ((number & 1) == 0)
            return ref slot._even;
        return ref slot._odd;
    }
}
