using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

/// <summary>A group's ranks, and what they stand on.</summary>
internal sealed class GroupUnderTest(IReadOnlyList<IProcessGroup> groups, params IDisposable[] media) : IDisposable
{
    public IReadOnlyList<IProcessGroup> Groups { get; } = groups;

    public void Dispose()
    {
        foreach (IProcessGroup group in Groups)
            group.Dispose();
        foreach (IDisposable medium in media)
            medium.Dispose();
    }
}
