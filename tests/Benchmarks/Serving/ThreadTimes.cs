using System.Globalization;

namespace Cluster.Benchmarks.Serving;

/// <summary>
/// Processor time of a process by kind of thread, from Linux' statistics: the threads of the CPU
/// device spin between regions, so the time of the whole process would not tell what is spent above the kernels.
/// </summary>
/// <param name="Kernels">Device threads and their workers, seconds.</param>
/// <param name="Others">Everything else: grains, HTTP, garbage collection, compilation; seconds.</param>
internal readonly record struct ThreadTimes(double Kernels, double Others)
{
    private const double TicksPerSecond = 100;

    /// <summary>Times up to now of a process; 0 = this one.</summary>
    public static ThreadTimes Of(int process)
    {
        string root = process == 0 ? "/proc/self" : string.Create(CultureInfo.InvariantCulture, $"/proc/{process}");
        double kernels = 0;
        foreach (string thread in Directory.EnumerateDirectories(Path.Combine(root, "task")))
            kernels += KernelSeconds(thread);
        // Of the whole process, because threads that have ended count too. After the name in parentheses, 14 and 15 are user and system time.
        string[] fields = File.ReadAllText(Path.Combine(root, "stat")).Split(')')[^1].Split(' ');
        double all = (long.Parse(fields[12], CultureInfo.InvariantCulture) + long.Parse(fields[13], CultureInfo.InvariantCulture)) / TicksPerSecond;
        return new ThreadTimes(kernels, all - kernels);
    }

    private static double KernelSeconds(string thread)
    {
        try
        {
            string name = File.ReadAllText(Path.Combine(thread, "comm"));
            if (!name.StartsWith("device ", StringComparison.Ordinal) && !name.Contains(" worker ", StringComparison.Ordinal))
                return 0;
            string statistics = File.ReadAllText(Path.Combine(thread, "schedstat"));
            return long.Parse(statistics.AsSpan(0, statistics.IndexOf(' ')), CultureInfo.InvariantCulture) / 1e9;
        }
        catch (IOException)
        {
            return 0; // The thread has just ended: it was none of the kernels'.
        }
    }

    /// <summary>Difference of two readings.</summary>
    public static ThreadTimes operator -(ThreadTimes later, ThreadTimes earlier) =>
        new(later.Kernels - earlier.Kernels, later.Others - earlier.Others);
}
