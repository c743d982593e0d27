namespace Cluster.Kernels.Collectives;

/// <summary>Groups within one process. Groups over processes come from <c>TcpMesh</c>.</summary>
public static class ProcessGroups
{
    /// <summary>A group of ranks of this process, one thread each: they copy out of each other's memory.</summary>
    /// <param name="size">Number of ranks.</param>
    /// <param name="epoch">The replica's epoch.</param>
    /// <param name="options">Limits.</param>
    /// <returns>One handle per rank.</returns>
    public static IReadOnlyList<IProcessGroup> CreateLocal(int size, long epoch, ProcessGroupOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(size, 1);
        ArgumentNullException.ThrowIfNull(options);
        var hub = new LocalHub([.. Enumerable.Range(0, size)], options);
        return [.. Enumerable.Range(0, size).Select(rank => new LocalProcessGroup(hub, rank, epoch, options, isSubgroup: false))];
    }
}
