namespace Cluster.Kernels.Collectives;

/// <summary>Limits of a process group.</summary>
public sealed record ProcessGroupOptions
{
    /// <summary>The defaults.</summary>
    public static ProcessGroupOptions Default { get; } = new();

    /// <summary>Longest wait for a peer that lives but does not come; infinite with <see cref="Timeout.InfiniteTimeSpan"/>. Default 5 minutes, far beyond any step.</summary>
    public TimeSpan OperationTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Bytes that <see cref="IProcessGroup.Send"/> may hold for one peer that has not received yet. Default 16 MiB: two chunks of 512 rows of 4096 floats.</summary>
    public long SendBufferBytes { get; init; } = 16 << 20;

    /// <summary>How long a waiting thread spins before it parks. Default 50 us, twice what waking a parked thread takes; groups of more ranks than cores spin 1 us.</summary>
    public TimeSpan Spin { get; init; } = TimeSpan.FromMicroseconds(50);

    /// <summary>
    /// The same for ranks of one process that have a core each. Default 1 ms: ranks that share memory come apart by more than 50 us within a
    /// layer, and whoever parks then is late for the next one (two ranks against one device of two threads: 0.77-0.94 with 50 us, 0.93-1.03 with 1 ms).
    /// </summary>
    public TimeSpan LocalSpin { get; init; } = TimeSpan.FromMilliseconds(1);
}
