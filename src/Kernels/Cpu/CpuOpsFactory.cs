using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>Opens CPU devices in pure C#: works on every OS and processor .NET runs on.</summary>
public sealed class CpuOpsFactory : IDeviceOpsFactory
{
    /// <inheritdoc/>
    public bool Supports(DeviceId device, out string reason)
    {
        reason = device.Kind == "cpu" ? "" : $"{device} is not a CPU device.";
        return reason.Length == 0;
    }

    /// <inheritdoc/>
    public IDeviceOps Open(DeviceId device, int threads)
    {
        if (!Supports(device, out string reason))
            throw new ArgumentException(reason, nameof(device));
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        return new CpuOps(device, threads == 0 ? Environment.ProcessorCount : threads, CpuPaths.Best);
    }
}
