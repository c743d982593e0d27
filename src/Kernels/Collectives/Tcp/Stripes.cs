namespace Cluster.Kernels.Collectives;

/// <summary>How a payload is cut over the data connections of a pair: contiguous parts, a function of the length alone.</summary>
internal readonly record struct Stripes(int Connections, long StripeBytes)
{
    /// <summary>Connections that carry a payload.</summary>
    public int Count(long bytes) => bytes >= StripeBytes ? Connections : 1;

    /// <summary>First byte of a connection's part; for index = count the end.</summary>
    public long Start(long bytes, int index)
    {
        int count = Count(bytes);
        return index >= count ? bytes : bytes / count * index;
    }
}
