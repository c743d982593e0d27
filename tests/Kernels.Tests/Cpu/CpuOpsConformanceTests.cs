using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.TestKit.DeviceOps;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>The conformance of all device ops on the path this processor would choose, with two threads.</summary>
public sealed class CpuOpsConformanceTests : DeviceOpsConformance
{
    /// <inheritdoc/>
    protected override IDeviceOps Open() => new CpuOpsFactory().Open(new DeviceId("cpu", 0), threads: 2);
}

/// <summary>The same on the scalar path.</summary>
public sealed class PortableOpsConformanceTests : DeviceOpsConformance
{
    /// <inheritdoc/>
    protected override IDeviceOps Open() => new CpuOps(new DeviceId("cpu", 0), 1, CpuPath.Portable);
}
