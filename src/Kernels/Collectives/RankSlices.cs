namespace Cluster.Kernels.Collectives;

/// <summary>Which part of an all-reduce a rank sums for all: contiguous, in whole cache lines, the same on every rank.</summary>
internal static class RankSlices
{
    private const int LineFloats = 16;

    /// <summary>First float of a rank's slice; for rank = size the end of the data.</summary>
    public static int Start(int length, int size, int rank)
    {
        long lines = ((long)length + LineFloats - 1) / LineFloats;
        long perRank = (lines + size - 1) / size;
        return (int)Math.Min(length, perRank * rank * LineFloats);
    }

    /// <summary>Floats of a rank's slice.</summary>
    public static int Count(int length, int size, int rank) => Start(length, size, rank + 1) - Start(length, size, rank);
}
