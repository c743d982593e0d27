using System.Diagnostics;
using System.Globalization;
using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Grains.Scheduling;
using Cluster.Kernels.Execution;
using Cluster.TestKit;
using Microsoft.Extensions.DependencyInjection;

namespace Cluster.Benchmarks.Scheduling;

/// <summary>
/// What a step costs above the kernels: an engine that computes nothing, one silo, readers in the same silo (as the HTTP
/// edge and the sessions are). The engine's own time is subtracted.
/// </summary>
internal static class SchedulerBenchmark
{
    private const int Tokens = 2000;
    private const int PromptLength = 32;

    /// <summary>Runs 1 and 32 sequences, in <paramref name="arguments"/>[0] rounds (default 5), and prints medians.</summary>
    public static async Task RunAsync(string[] arguments)
    {
        int rounds = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : 5;
        foreach (int sequences in new[] { 1, 32 })
            Print("scheduler alone", sequences, [.. Enumerable.Range(0, rounds).Select(_ => Alone(sequences))]);
        foreach ((int sessions, int choices) in new[] { (1, 1), (1, 32), (32, 1) })
        {
            var engine = new TimedEngine();
            await using ClusterFixture cluster = await new ClusterFixture
            {
                Engine = (_, _) => engine,
                Configure = options => options.EnablePrefixCaching = true,
            }.StartAsync();
            await ThroughGrainsAsync(cluster, engine, sessions, choices);
            var runs = new List<Measurement>();
            for (int round = 0; round < rounds; round++)
                runs.Add(await ThroughGrainsAsync(cluster, engine, sessions, choices));
            Print($"grains, {sessions} sessions", sessions * choices, runs);
        }

        foreach (int sequences in new[] { 1, 32 })
            await PrintGapAsync(sequences);
    }

    // With a device that is busy for some milliseconds, reports go out meanwhile: what it waits for is the gap.
    private static async Task PrintGapAsync(int sequences)
    {
        using var engine = new BusyEngine(TimeSpan.FromMilliseconds(3));
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => engine }.StartAsync();
        ITargetReplicaGrain replica = cluster.ServicesOf(0).GetRequiredService<IGrainFactory>().GetGrain<ITargetReplicaGrain>($"{ClusterFixture.Model}/0");
        await Task.WhenAll(Enumerable.Range(0, sequences).Select(i => ReadAsync(replica, Group(i, choices: 1, maxTokens: 600))));
        double[] gaps = [.. engine.Gaps.Skip(100).Select(gap => gap.TotalMicroseconds).Order()];
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"idle between steps of 3 ms   {sequences,3} sequences: {gaps[gaps.Length / 2],7:F1} us median, {gaps[gaps.Length * 9 / 10],7:F1} us p90 ({gaps.Length} steps)"));
    }

    private static Measurement Alone(int sequences)
    {
        var scheduler = new Scheduler(new SchedulerOptions { BlockCount = 20_000, BlockSize = 16, MaxTokensPerStep = 512, MaxSequencesPerStep = 128, MaxQueued = 1000 });
        var all = new List<Sequence>();
        for (int i = 0; i < sequences; i++)
            all.Add(new Sequence(i, $"s{i}", Prompt(i), [], Tokens));
        scheduler.TryAdd(all);
        int[] token = [7];
        var start = Meter.Start();
        int steps = 0;
        while (scheduler.Schedule() is { } step)
        {
            for (int i = 0; i < step.RowList.Count; i++)
            {
                ScheduledRows rows = step.RowList[i];
                scheduler.Commit(step, i, rows.Sample ? token : [], rows.Count, rows.Sequence.Length + 1 == rows.Sequence.MaxLength);
            }

            scheduler.Complete(step);
            steps++;
        }

        return start.Stop(steps, (long)sequences * Tokens, TimeSpan.Zero);
    }

    private static async Task<Measurement> ThroughGrainsAsync(ClusterFixture cluster, TimedEngine engine, int sessions, int choices)
    {
        IGrainFactory grains = cluster.ServicesOf(0).GetRequiredService<IGrainFactory>();
        ITargetReplicaGrain replica = grains.GetGrain<ITargetReplicaGrain>($"{ClusterFixture.Model}/0");
        engine.Reset();
        var start = Meter.Start();
        int[] counts = await Task.WhenAll(Enumerable.Range(0, sessions).Select(i => ReadAsync(replica, Group(i, choices, Tokens))));
        if (counts.Sum() != sessions * choices * Tokens)
            throw new InvalidOperationException($"{counts.Sum()} tokens came, {sessions * choices * Tokens} were asked for.");
        return start.Stop(engine.Steps, counts.Sum(), engine.Elapsed);
    }

    private static async Task<int> ReadAsync(ITargetReplicaGrain replica, SequenceGroup group)
    {
        int tokens = 0;
        await foreach (SequenceProgress progress in replica.Generate(group, CancellationToken.None))
            tokens += progress.Tokens.Length;
        return tokens;
    }

    private static SequenceGroup Group(int index, int choices, int maxTokens) => new()
    {
        SessionId = $"session-{index}",
        Priority = 0,
        AcceptedAt = 0,
        Sampling = new SamplingOptions { Temperature = 0 },
        Seed = 1,
        StopTokens = [],
        MinTokens = 0,
        TopLogprobs = -1,
        PromptTopLogprobs = -1,
        Sequences = [.. Enumerable.Range(0, choices).Select(choice => new SequenceStart { Choice = choice, Prompt = [.. Prompt(index)], Generated = [], MaxTokens = maxTokens })],
    };

    private static int[] Prompt(int index) => [.. Enumerable.Range(0, PromptLength).Select(i => (index * 13) + i)];

    private static void Print(string what, int sequences, IReadOnlyList<Measurement> runs) => Console.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"{what,-26} {sequences,3} sequences: {Median(runs, run => run.WallPerStep),7:F1} us per step, {Median(runs, run => run.CpuPerStep),7:F1} us CPU per step, {Median(runs, run => run.CpuPerToken),6:F2} us CPU per token, {Median(runs, run => run.BytesPerStep),8:F0} B per step (median of {runs.Count})"));

    private static double Median(IReadOnlyList<Measurement> runs, Func<Measurement, double> value) =>
        runs.Select(value).Order().ElementAt(runs.Count / 2);

    private sealed record Measurement(double WallPerStep, double CpuPerStep, double CpuPerToken, double BytesPerStep);

    private sealed record Meter(long Time, TimeSpan Cpu, long Bytes)
    {
        public static Meter Start() => new(Stopwatch.GetTimestamp(), Environment.CpuUsage.TotalTime, GC.GetTotalAllocatedBytes());

        public Measurement Stop(int steps, long tokens, TimeSpan engine)
        {
            double wall = (Stopwatch.GetElapsedTime(Time) - engine).TotalMicroseconds;
            double cpu = (Environment.CpuUsage.TotalTime - Cpu - engine).TotalMicroseconds;
            return new Measurement(wall / steps, cpu / steps, cpu / tokens, (double)(GC.GetTotalAllocatedBytes() - Bytes) / steps);
        }
    }

    /// <summary>Draws the same token for every sequence and measures how long that takes.</summary>
    private sealed class TimedEngine : IShardEngine
    {
        private readonly FakeShardEngine _engine = new(blocks: 20_000, blockSize: 16, maxBatchedTokens: 512, maxSequences: 128, maxModelLength: 4096) { ReadsContext = false };
        private long _ticks;

        public ShardSpec Spec => _engine.Spec;

        public int BlockCount => _engine.BlockCount;

        public int BlockSize => _engine.BlockSize;

        public int Steps { get; private set; }

        public TimeSpan Elapsed => Stopwatch.GetElapsedTime(0, _ticks);

        public void Reset() => (Steps, _ticks) = (0, 0);

        public void Join(Cluster.Kernels.Collectives.IProcessGroup? group) => _engine.Join(group);

        public async Task<ForwardOutput> ExecuteAsync(ForwardBatch batch)
        {
            long start = Stopwatch.GetTimestamp();
            ForwardOutput output = await _engine.ExecuteAsync(batch);
            _ticks += Stopwatch.GetTimestamp() - start;
            Steps++;
            return output;
        }

        public ValueTask DisposeAsync() => _engine.DisposeAsync();
    }
}
