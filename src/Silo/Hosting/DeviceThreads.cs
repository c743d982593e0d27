using System.Collections.Concurrent;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>The devices of this silo, opened on first use and closed with it.</summary>
internal sealed class DeviceThreads : IAsyncDisposable
{
    // Later ones are asked first: an accelerator that was built in is preferred.
    private static readonly IDeviceOpsFactory[] Factories =
    [
        new CpuOpsFactory(),
#if TORCH
        new Kernels.Torch.TorchOpsFactory(),
#endif
    ];

    private readonly ConcurrentDictionary<DeviceId, Lazy<Task<DeviceThread>>> _open = new();

    /// <summary>The library of this build that drives a device.</summary>
    /// <exception cref="StartFailedException">There is none.</exception>
    public static IDeviceOpsFactory FactoryFor(DeviceId device)
    {
        var reasons = new List<string>();
        foreach (IDeviceOpsFactory factory in Factories.Reverse())
        {
            if (factory.Supports(device, out string reason))
                return factory;
            reasons.Add(reason);
        }
        throw new StartFailedException($"--devices: {device} cannot be opened: {string.Join(" ", reasons)}");
    }

    /// <summary>The thread of a device.</summary>
    /// <exception cref="StartFailedException">No library of this build drives it.</exception>
    public Task<DeviceThread> Open(DeviceSetting setting) =>
        _open.GetOrAdd(setting.Device, _ => new Lazy<Task<DeviceThread>>(() => DeviceThread.StartAsync(FactoryFor(setting.Device), setting.Device, setting.Threads))).Value;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (Lazy<Task<DeviceThread>> device in _open.Values)
        {
            if (device.Value.IsCompletedSuccessfully)
                await (await device.Value).DisposeAsync();
        }
    }
}
