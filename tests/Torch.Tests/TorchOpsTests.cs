using Cluster.Kernels.Execution;
using Cluster.Kernels.Torch;
using Cluster.TestKit.DeviceOps;

namespace Cluster.Torch.Tests;

/// <summary>The Torch ops against the same oracle as the C# ops.</summary>
[Collection(Native.Collection)]
public sealed class TorchOpsTests : DeviceOpsConformance
{
    protected override IDeviceOps Open()
    {
        Native.Require();
        return new TorchOpsFactory().Open(new DeviceId("cpu", 0), threads: 1);
    }
}

/// <summary>The same with two threads inside libtorch.</summary>
[Collection(Native.Collection)]
public sealed class TorchOpsThreadedTests : DeviceOpsConformance
{
    protected override IDeviceOps Open()
    {
        Native.Require();
        return new TorchOpsFactory().Open(new DeviceId("cpu", 0), threads: 2);
    }
}
