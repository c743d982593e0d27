namespace Cluster.Kernels.Collectives;

/// <summary>What a rank moved under one tag.</summary>
/// <param name="Operations">Operations that ended well.</param>
/// <param name="Rounds">Exchanges, each of which waits for the one before it.</param>
/// <param name="BytesSent">Payload that left for other ranks.</param>
/// <param name="BytesReceived">Payload that came from other ranks.</param>
public readonly record struct LedgerEntry(long Operations, long Rounds, long BytesSent, long BytesReceived)
{
    /// <summary>Sum of each count.</summary>
    public static LedgerEntry operator +(LedgerEntry left, LedgerEntry right) => new(
        left.Operations + right.Operations, left.Rounds + right.Rounds, left.BytesSent + right.BytesSent, left.BytesReceived + right.BytesReceived);

    /// <summary>Sum of each count.</summary>
    public static LedgerEntry Add(LedgerEntry left, LedgerEntry right) => left + right;
}
