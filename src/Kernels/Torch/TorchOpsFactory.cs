using Cluster.Kernels.Execution;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.Kernels.Torch;

/// <summary>Opens <c>cpu:N</c> and <c>cuda:N</c> on libtorch, if it loads (<see cref="LibTorch"/>).</summary>
public sealed class TorchOpsFactory : IDeviceOpsFactory
{
    /// <inheritdoc/>
    public bool Supports(DeviceId device, out string reason)
    {
        if (!LibTorch.TryLoad(out reason))
            return false;
        reason = device.Kind switch
        {
            "cpu" => "",
            "cuda" when !cuda.is_available() => "this libtorch finds no CUDA device",
            "cuda" when device.Index >= cuda.device_count() => $"there are {cuda.device_count()} CUDA devices",
            "cuda" => "",
            _ => $"libtorch drives cpu and cuda devices, not {device.Kind}",
        };
        return reason.Length == 0;
    }

    /// <inheritdoc/>
    /// <remarks>libtorch keeps its thread count per calling thread: it is set here, on the device's own.</remarks>
    public IDeviceOps Open(DeviceId device, int threads)
    {
        if (!Supports(device, out string reason))
            throw new ArgumentException(reason, nameof(device));
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        if (device.Kind == "cpu")
        {
            set_num_threads(threads == 0 ? Environment.ProcessorCount : threads);
            return new TorchOps(device, CPU);
        }
        InitializeDeviceType(DeviceType.CUDA);
        return new TorchOps(device, new Device(DeviceType.CUDA, device.Index));
    }
}
