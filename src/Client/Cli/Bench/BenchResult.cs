namespace Cluster.Cli.Bench;

/// <summary>What a run measured. Times in milliseconds, rates per second.</summary>
internal sealed record BenchResult
{
    public required IReadOnlyList<RequestRecord> Records { get; init; }

    /// <summary>Seconds from the first request to the end of the last.</summary>
    public required double Duration { get; init; }

    public required int Completed { get; init; }

    public required int Failed { get; init; }

    public required long TotalInputTokens { get; init; }

    public required long TotalOutputTokens { get; init; }

    public required double RequestThroughput { get; init; }

    /// <summary>Null when no limits were given.</summary>
    public required double? RequestGoodput { get; init; }

    public required double OutputThroughput { get; init; }

    public required double TotalTokenThroughput { get; init; }

    /// <summary>Most requests in flight at once.</summary>
    public required int MaxConcurrentRequests { get; init; }

    public required Summary Ttft { get; init; }

    public required Summary Tpot { get; init; }

    public required Summary Itl { get; init; }

    public required Summary E2el { get; init; }

    /// <summary>Computes the result; failed requests count as failed and nowhere else.</summary>
    public static BenchResult Compute(IReadOnlyList<RequestRecord> records, double duration, GoodputTarget goodput)
    {
        RequestRecord[] good = [.. records.Where(record => record.Succeeded)];
        long input = good.Sum(record => (long)record.InputTokens);
        long output = good.Sum(record => (long)record.OutputTokens);
        double PerSecond(double count) => duration > 0 ? count / duration : 0;
        return new BenchResult
        {
            Records = records,
            Duration = duration,
            Completed = good.Length,
            Failed = records.Count - good.Length,
            TotalInputTokens = input,
            TotalOutputTokens = output,
            RequestThroughput = PerSecond(good.Length),
            RequestGoodput = goodput.IsSet ? PerSecond(good.Count(goodput.IsMetBy)) : null,
            OutputThroughput = PerSecond(output),
            TotalTokenThroughput = PerSecond(input + output),
            MaxConcurrentRequests = MostAtOnce(good),
            Ttft = Summary.Of(good.Select(record => record.Ttft * 1000)),
            Tpot = Summary.Of(good.Where(record => record.Tpot is not null).Select(record => record.Tpot!.Value * 1000)),
            Itl = Summary.Of(good.SelectMany(record => record.Itl).Select(gap => gap * 1000)),
            E2el = Summary.Of(good.Select(record => record.Latency * 1000)),
        };
    }

    private static int MostAtOnce(RequestRecord[] records)
    {
        int now = 0;
        int most = 0;
        // At equal times an end comes before a start.
        foreach ((_, int change) in records.SelectMany(record => new[] { (record.Start, 1), (record.Start + record.Latency, -1) }).Order())
            most = Math.Max(most, now += change);
        return most;
    }
}
