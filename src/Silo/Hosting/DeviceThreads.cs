using System.Collections.Concurrent;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>The devices of this silo, opened on first use and closed with it.</summary>
internal sealed class DeviceThreads : IAsyncDisposable
{
    private readonly ConcurrentDictionary<DeviceId, Lazy<Task<DeviceThread>>> _open = new();
    private readonly IReadOnlyList<IDeviceOpsFactory> _factories =
    [
        new CpuOpsFactory(),
#if TORCH
        new Kernels.Torch.TorchOpsFactory(),
#endif
    ];

    /// <summary>The thread of a device.</summary>
    /// <exception cref="StartFailedException">No library of this build drives it.</exception>
    public Task<DeviceThread> Open(DeviceSetting setting) =>
        _open.GetOrAdd(setting.Device, _ => new Lazy<Task<DeviceThread>>(() => Start(setting))).Value;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (Lazy<Task<DeviceThread>> device in _open.Values)
        {
            if (device.Value.IsCompletedSuccessfully)
                await (await device.Value).DisposeAsync();
        }
    }

    private Task<DeviceThread> Start(DeviceSetting setting)
    {
        var reasons = new List<string>();
        // Later factories come first: an accelerator that was built in is preferred.
        foreach (IDeviceOpsFactory factory in _factories.Reverse())
        {
            if (factory.Supports(setting.Device, out string reason))
                return DeviceThread.StartAsync(factory, setting.Device, setting.Threads);
            reasons.Add(reason);
        }
        throw new StartFailedException($"--devices: {setting.Device} cannot be opened: {string.Join(" ", reasons)}");
    }
}
