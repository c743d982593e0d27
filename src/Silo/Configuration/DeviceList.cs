using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Cluster.Kernels.Execution;

namespace Cluster.Silo.Configuration;

/// <summary>A device of <c>--devices</c>; 0 threads = the device library's choice.</summary>
internal readonly record struct DeviceSetting(DeviceId Device, int Threads);

/// <summary>Reads <c>--devices</c>.</summary>
internal static class DeviceList
{
    /// <summary>Most devices of one silo.</summary>
    public const int MaxDevices = 64;

    private const int MaxThreads = 1024;

    /// <summary>Reads the list; <paramref name="reason"/> says what is wrong.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out IReadOnlyList<DeviceSetting>? devices, out string reason)
    {
        devices = null;
        reason = "";
        if (text == "auto")
        {
            devices = [new DeviceSetting(new DeviceId("cpu", 0), 0)];
            return true;
        }
        var list = new List<DeviceSetting>();
        foreach (string entry in text.Split(',', StringSplitOptions.TrimEntries))
        {
            if (!TryParseEntry(entry, out DeviceSetting device))
                reason = $"must be auto or a list such as cpu:0,cpu:1/2 or cuda:0 (threads 1 to {MaxThreads}), got '{entry}'";
            else if (list.Any(other => other.Device == device.Device))
                reason = $"device {device.Device} is given twice";
            if (reason.Length > 0)
                return false;
            list.Add(device);
        }
        if (list.Count > MaxDevices)
        {
            reason = $"at most {MaxDevices} devices, got {list.Count}";
            return false;
        }
        devices = list;
        return true;
    }

    private static bool TryParseEntry(string entry, out DeviceSetting device)
    {
        device = default;
        string[] parts = entry.Split('/');
        if (parts.Length > 2 || DeviceId.TryParse(parts[0]) is not { } id)
            return false;
        int threads = 0;
        if (parts.Length == 2 && (!int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out threads) || threads is 0 or > MaxThreads))
            return false;
        device = new DeviceSetting(id, threads);
        return true;
    }
}
