using System.Globalization;
using Cluster.Kernels.Execution;

namespace Cluster.Benchmarks.Parallel;

/// <summary>
/// Two shards of one thread each against one device with two threads: tensor parallel, and pipeline parallel with two micro-batches.
/// Cases alternate; medians of the rounds.
/// </summary>
internal static class ParallelBenchmark
{
    private const int PromptTokens = 64;
    private const int DecodeSteps = 12;
    private const int PrefillTokens = 512;
    private const int Chunk = 128;

    /// <summary>Runs <paramref name="arguments"/>: MODEL [ROUNDS] [decode|prefill|SEQUENCES] [none|int8|int4].</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        if (arguments.Length == 0)
        {
            Console.Error.WriteLine("parallel MODEL [ROUNDS] [decode|prefill|SEQUENCES] [none|int8|int4]");
            return 2;
        }
        int rounds = arguments.Length > 1 ? int.Parse(arguments[1], CultureInfo.InvariantCulture) : 5;
        string part = arguments.Length > 2 ? arguments[2] : "decode";
        WeightQuantization quantization = arguments.Length > 3 ? Enum.Parse<WeightQuantization>(arguments[3], ignoreCase: true) : WeightQuantization.None;
        await using ReplicaRunner whole = await ReplicaRunner.LoadAsync(arguments[0], 1, 1, threads: 2, quantization);
        await using ReplicaRunner tensor = await ReplicaRunner.LoadAsync(arguments[0], 2, 1, threads: 1, quantization);
        await using ReplicaRunner pipeline = await ReplicaRunner.LoadAsync(arguments[0], 1, 2, threads: 1, quantization);
        if (part == "prefill")
        {
            await PrefillAsync(whole, tensor, pipeline, rounds);
            return 0;
        }
        foreach (ReplicaRunner replica in (ReplicaRunner[])[whole, tensor, pipeline])
            await replica.PrefillForDecodeAsync(16, PromptTokens);
        foreach (int sequences in part == "decode" ? [1, 2, 8, 16] : (int[])[int.Parse(part, CultureInfo.InvariantCulture)])
            await DecodeAsync(whole, tensor, pipeline, sequences, rounds);
        return 0;
    }

    private static async Task DecodeAsync(ReplicaRunner whole, ReplicaRunner tensor, ReplicaRunner pipeline, int sequences, int rounds)
    {
        bool splits = sequences >= 2;
        var times = new Times();
        for (int round = -1; round < rounds; round++)
        {
            await times.AddAsync("whole", round, () => whole.DecodeAsync(sequences, PromptTokens, 1, DecodeSteps));
            await times.AddAsync("tensor", round, () => tensor.DecodeAsync(sequences, PromptTokens, 1, DecodeSteps));
            if (!splits)
                continue;
            await times.AddAsync("half", round, () => whole.DecodeAsync(sequences / 2, PromptTokens, 1, DecodeSteps));
            await times.AddAsync("pipeline", round, () => pipeline.DecodeAsync(sequences, PromptTokens, 2, DecodeSteps));
        }
        Print($"decode, {sequences} sequences: one device {times.Milliseconds("whole")} ms, TP 2 {times.Milliseconds("tensor")} ms: {times.Ratio("whole", "tensor")}");
        if (splits)
            Print($"    PP 2, two micro-batches of {sequences / 2}: {times.Milliseconds("pipeline")} ms; ideal 2 * t(b/2) = 2 * {times.Milliseconds("half")} ms: {2 * times.Value("half") / times.Value("pipeline"):F3}x of it ({times.Ratio("whole", "pipeline")} of one device)");
    }

    private static async Task PrefillAsync(ReplicaRunner whole, ReplicaRunner tensor, ReplicaRunner pipeline, int rounds)
    {
        var times = new Times();
        for (int round = -1; round < rounds; round++)
        {
            await times.AddAsync("whole", round, () => whole.PrefillAsync(PrefillTokens, PrefillTokens));
            await times.AddAsync("tensor", round, () => tensor.PrefillAsync(PrefillTokens, PrefillTokens));
            await times.AddAsync("pipeline", round, () => pipeline.PrefillAsync(PrefillTokens, Chunk));
        }
        const int Chunks = PrefillTokens / Chunk;
        Print($"prefill, {PrefillTokens} tokens: one device {times.Milliseconds("whole")} ms, TP 2 {times.Milliseconds("tensor")} ms: {times.Ratio("whole", "tensor")}");
        Print($"    PP 2, {Chunks} chunks of {Chunk} in flight: {times.Milliseconds("pipeline")} ms: {times.Ratio("whole", "pipeline")} (full pipeline, less the bubble of 1 in {Chunks + 1}: {(double)Chunks / (Chunks + 1):F3}x)");
    }

    private static void Print(FormattableString line) => Console.WriteLine(line.ToString(CultureInfo.InvariantCulture));

    /// <summary>Seconds by case; the round before the first warms up.</summary>
    private sealed class Times
    {
        private readonly Dictionary<string, List<double>> _seconds = [];

        public async Task AddAsync(string name, int round, Func<Task<double>> run)
        {
            double seconds = await run();
            if (!_seconds.TryGetValue(name, out List<double>? list))
                _seconds[name] = list = [];
            if (round >= 0)
                list.Add(seconds);
        }

        public double Value(string name)
        {
            double[] sorted = [.. _seconds[name].Order()];
            return (sorted[sorted.Length / 2] + sorted[(sorted.Length - 1) / 2]) / 2;
        }

        public string Milliseconds(string name) => (1e3 * Value(name)).ToString("F2", CultureInfo.InvariantCulture);

        /// <summary>Ratio of medians, and of the best rounds: what other work on the machine takes from one of two ranks, the other waits for.</summary>
        public string Ratio(string baseline, string name) => string.Create(
            CultureInfo.InvariantCulture, $"{Value(baseline) / Value(name):F3}x (best rounds {_seconds[baseline].Min() / _seconds[name].Min():F3}x)");
    }
}
