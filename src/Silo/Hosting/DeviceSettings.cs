using Cluster.Grains;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>The devices of this silo.</summary>
internal static class DeviceSettings
{
    /// <summary>The devices with their threads: those without a number share the processors.</summary>
    /// <exception cref="StartFailedException">The list cannot be read, or no library of this build drives a device.</exception>
    public static IReadOnlyList<DeviceSetting> Of(ClusterOptions options)
    {
        if (!DeviceList.TryParse(options.Devices, out IReadOnlyList<DeviceSetting>? list, out string reason))
            throw new StartFailedException($"--devices: {reason}");
        int share = Math.Max(1, Environment.ProcessorCount / list.Count);
        DeviceSetting[] devices = [.. list.Select(device => device.Threads == 0 && list.Count > 1 ? device with { Threads = share } : device)];
        foreach (DeviceSetting device in devices)
            DeviceThreads.FactoryFor(device.Device);
        return devices;
    }
}
