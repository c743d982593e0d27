using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Tests.Collectives;

public sealed class LocalProcessGroupTests : ProcessGroupConformance
{
    private protected override GroupUnderTest Create(int size, ProcessGroupOptions options) => new(ProcessGroups.CreateLocal(size, 5, options));
}

public sealed class LocalProcessGroupFailureTests : ProcessGroupFailureConformance
{
    private protected override GroupUnderTest Create(int size, ProcessGroupOptions options) => new(ProcessGroups.CreateLocal(size, 5, options));
}
