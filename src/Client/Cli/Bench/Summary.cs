namespace Cluster.Cli.Bench;

/// <summary>Distribution of a sample, as numpy computes it: population deviation, linear interpolation between ranks.</summary>
internal readonly record struct Summary(double Mean, double Median, double Std, double P50, double P90, double P99)
{
    /// <summary>Summarises; all zeros for an empty sample (vLLM does so too).</summary>
    public static Summary Of(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        if (sorted.Length == 0)
            return default;
        double mean = sorted.Average();
        double variance = sorted.Sum(value => (value - mean) * (value - mean)) / sorted.Length;
        return new Summary(mean, Percentile(sorted, 50), Math.Sqrt(variance), Percentile(sorted, 50), Percentile(sorted, 90), Percentile(sorted, 99));
    }

    /// <summary>Percentile of a sorted sample.</summary>
    internal static double Percentile(double[] sorted, double percent)
    {
        double rank = percent / 100 * (sorted.Length - 1);
        int low = (int)Math.Floor(rank);
        int high = Math.Min(low + 1, sorted.Length - 1);
        return sorted[low] + ((sorted[high] - sorted[low]) * (rank - low));
    }
}
