using System.Diagnostics;
using System.Globalization;

namespace Cluster.Benchmarks.Kernels;

/// <summary>
/// Times of cases that run in turn, slice by slice, so that drift of the machine meets all alike. A slice in which this
/// process's threads waited for a core more than 12 % of the time (other processes) does not count, as long as enough others do.
/// </summary>
internal sealed class Slices(int threads)
{
    private const double MaxWaitShare = 0.12;
    private const int EnoughSlices = 7;
    // A slice is long beside the wake-up of a parked worker, as the steps of a decode are, which follow each other.
    private const double SliceSeconds = 0.008;
    private readonly List<(string Name, Action Run, int Repeats, List<(double Seconds, bool Quiet)> Times)> _cases = [];

    /// <summary>Adds a case; returns its name.</summary>
    public string Add(string name, Action run)
    {
        run();
        long start = Stopwatch.GetTimestamp();
        run();
        int repeats = Math.Max(1, (int)(SliceSeconds / Stopwatch.GetElapsedTime(start).TotalSeconds));
        _cases.Add((name, run, repeats, []));
        return name;
    }

    /// <summary>Runs all cases in turn.</summary>
    public void Run(int rounds)
    {
        for (int round = 0; round < rounds; round++)
        {
            foreach ((_, Action run, int repeats, List<(double, bool)> times) in _cases)
            {
                long waitedBefore = WaitedNanoseconds();
                long start = Stopwatch.GetTimestamp();
                for (int i = 0; i < repeats; i++)
                    run();
                double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
                long waited = WaitedNanoseconds() - waitedBefore;
                times.Add((seconds / repeats, waited < MaxWaitShare * threads * seconds * 1e9));
            }
        }
    }

    /// <summary>Median of the quiet slices (of all, if too few were quiet).</summary>
    public double Median(string name)
    {
        List<(double Seconds, bool Quiet)> times = _cases.First(item => item.Name == name).Times;
        double[] quiet = [.. times.Where(time => time.Quiet).Select(time => time.Seconds).Order()];
        double[] all = quiet.Length >= EnoughSlices ? quiet : [.. times.Select(time => time.Seconds).Order()];
        return all[all.Length / 2];
    }

    /// <summary>Share of slices that were quiet.</summary>
    public double QuietShare => _cases.SelectMany(item => item.Times).Average(time => time.Quiet ? 1.0 : 0.0);

    /// <summary>Time that runnable threads of this process spent waiting for a core (Linux; elsewhere 0: every slice counts).</summary>
    private static long WaitedNanoseconds()
    {
        if (!OperatingSystem.IsLinux())
            return 0;
        long sum = 0;
        foreach (string task in Directory.EnumerateDirectories("/proc/self/task"))
        {
            try
            {
                string[] fields = File.ReadAllText(Path.Combine(task, "schedstat")).Split(' ');
                sum += long.Parse(fields[1], CultureInfo.InvariantCulture);
            }
            catch (IOException)
            {
                // The thread has ended.
            }
        }

        return sum;
    }
}
