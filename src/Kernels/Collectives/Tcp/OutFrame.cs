namespace Cluster.Kernels.Collectives;

/// <summary>A frame on its way out. Its payload stands in the caller's memory, or in a buffer of its own once the caller has gone.</summary>
internal sealed unsafe class OutFrame(int connections)
{
    public FrameHeader Header;
    public byte* Data;

    /// <summary>Pinned buffer of a kept frame.</summary>
    public byte[]? Kept;

    /// <summary>Bytes gone on each connection; on the first one the header counts.</summary>
    public long[] Gone { get; } = new long[connections];
}
