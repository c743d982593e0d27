using System.Globalization;

namespace Cluster.Silo.Hosting;

/// <summary>Memory that this process may still take.</summary>
internal static class FreeMemory
{
    /// <summary>Bytes: the least of what the machine has free and what a container's limit leaves.</summary>
    public static long Bytes()
    {
        GCMemoryInfo memory = GC.GetGCMemoryInfo();
        long limit = Math.Max(0, memory.TotalAvailableMemoryBytes - Environment.WorkingSet);
        return MachineBytes() is { } machine ? Math.Min(machine, limit) : limit;
    }

    // On other systems the runtime's own figure has to do.
    private static long? MachineBytes()
    {
        const string File = "/proc/meminfo";
        if (!OperatingSystem.IsLinux() || !System.IO.File.Exists(File))
            return null;
        foreach (string line in System.IO.File.ReadLines(File))
        {
            if (line.StartsWith("MemAvailable:", StringComparison.Ordinal)
                && long.TryParse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], NumberStyles.None, CultureInfo.InvariantCulture, out long kilobytes))
                return kilobytes << 10;
        }
        return null;
    }
}
