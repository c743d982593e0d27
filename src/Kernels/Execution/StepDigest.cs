namespace Cluster.Kernels.Execution;

/// <summary>
/// What a step is, in 64 bits: equal for the same batch on all shards of a replica. Shards that would run different steps at the same
/// time (a caller mixed up their order) tell by it, instead of giving tokens that are nobody's.
/// </summary>
internal static class StepDigest
{
    private const ulong Prime = 0x9E3779B97F4A7C15;

    /// <summary>Digest of rows, positions, cache slots, tokens and of the rows whose logits are wanted.</summary>
    public static ulong Of(ForwardBatch batch)
    {
        ulong digest = Mix(0, (ulong)batch.Rows << 32 | (uint)batch.Sequences);
        for (int row = 0; row < batch.Rows; row++)
        {
            digest = Mix(digest, (ulong)batch.TokenIds[row] << 32 | (uint)batch.Positions[row]);
            digest = Mix(digest, (ulong)batch.SlotMapping[row]);
        }
        foreach (int row in batch.LogitRows)
            digest = Mix(digest, (ulong)row);
        return digest;
    }

    private static ulong Mix(ulong digest, ulong value)
    {
        digest = (digest ^ value) * Prime;
        return digest ^ (digest >> 29);
    }
}
