using System.Diagnostics;
using System.Globalization;
using Cluster.TestKit.Processes;

namespace Cluster.Benchmarks.Serving;

/// <summary>
/// Tokens per second of the kernels alone against the same through silo and HTTP, alternating in one run. The decode
/// phase is compared: between the first and the last token of a round in which all streams start together.
/// </summary>
internal static class ServingBenchmark
{
    private const int PromptTokens = 32;
    private const int Tokens = 65;
    private const int WarmUpTokens = 4;
    private const int WarmUpBursts = 2;
    private static readonly TimeSpan QuietTime = TimeSpan.FromMilliseconds(300);

    /// <summary>Arguments: model folder, rounds (default 5), numbers of streams (default 1 and 32).</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        string model = Path.GetFullPath(arguments[0]);
        int rounds = arguments.Length > 1 ? int.Parse(arguments[1], CultureInfo.InvariantCulture) : 5;
        await using KernelDecode kernels = await KernelDecode.LoadAsync(model, 32);
        using var silo = new SiloProcess(
            Path.Combine(AppContext.BaseDirectory, "Cluster.Silo.dll"), "--model", model, "--served-model-name", "model",
            "--max-model-len", "512", "--max-num-seqs", "32", "--no-enable-prefix-caching");
        // Every method is compiled once. With tiers, some thousand of them are compiled again in the first minutes, and the
        // compiler's time would be measured as a cost per token that a process that has run for a while does not have.
        silo.Environment["DOTNET_TieredCompilation"] = "0";
        await silo.StartAsync();
        var load = new StreamLoad(silo.Port);

        Console.WriteLine("| streams | kernels ms/step | HTTP ms/step | kernels tok/s | HTTP tok/s | HTTP/kernels | above the kernels, us/step | us per token | silo's CPU beside its kernels, us per token | load generator's CPU, us per token |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|---|---|");
        await WarmUpAsync(silo, load);
        foreach (int streams in StreamCounts(arguments))
        {
            await kernels.StepSecondsAsync(streams, PromptTokens, WarmUpTokens);
            var alone = new List<double>();
            var served = new List<Round>();
            for (int round = 1; round <= rounds; round++)
            {
                alone.Add(await kernels.StepSecondsAsync(streams, PromptTokens, Tokens));
                served.Add(Serve(silo, load, streams, round));
            }
            foreach ((double before, Round round) in alone.Zip(served))
                Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{streams}: {before * 1e3:0.00} ms/step alone, {round.StepSeconds * 1e3:0.00} served"));
            double step = Median(alone), through = Median(served.Select(round => round.StepSeconds)), above = (through - step) * 1e6;
            double edge = Median(served.Select(round => round.EdgeSecondsPerToken)), client = Median(served.Select(round => round.LoadSecondsPerToken));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"| {streams} | {step * 1e3:0.00} | {through * 1e3:0.00} | {streams / step:0.0} | {streams / through:0.0} | {step / through:0.000} | {above:0} | {above / streams:0} | {edge * 1e6:0.0} | {client * 1e6:0.0} |"));
        }
        return 0;
    }

    // Every method that a request needs is compiled before the measurement.
    private static async Task WarmUpAsync(SiloProcess silo, StreamLoad load)
    {
        for (int burst = 0; burst < WarmUpBursts; burst++)
        {
            load.Run([.. Enumerable.Range(0, 32).Select(stream => Body(stream, -burst, promptTokens: 2, WarmUpTokens))]);
            ThreadTimes before;
            do
            {
                before = ThreadTimes.Of(silo.Process.Id);
                await Task.Delay(QuietTime);
            }
            while ((ThreadTimes.Of(silo.Process.Id) - before).Others > 0.1 * QuietTime.TotalSeconds);
        }
    }

    private static int[] StreamCounts(string[] arguments) =>
        arguments.Length > 2 ? [.. arguments[2..].Select(count => int.Parse(count, CultureInfo.InvariantCulture))] : [1, 32];

    // Times of the decode phase as the client sees it; processor time of the whole round, prompts and accepting included.
    private static Round Serve(SiloProcess silo, StreamLoad load, int streams, int round)
    {
        string[] bodies = [.. Enumerable.Range(0, streams).Select(stream => Body(stream, round, PromptTokens, Tokens))];
        ThreadTimes siloBefore = ThreadTimes.Of(silo.Process.Id), before = ThreadTimes.Of(0);
        List<long>[] times = load.Run(bodies);
        ThreadTimes siloUsed = ThreadTimes.Of(silo.Process.Id) - siloBefore, used = ThreadTimes.Of(0) - before;

        // Every stream decodes only once all have their first token; it ends when the first stream has its last one.
        long start = times.Max(stream => stream[0]), end = times.Min(stream => stream[Tokens - 1]);
        double steps = times.Average(stream => stream.Count(time => time > start && time <= end));
        int tokens = streams * Tokens;
        return new Round(Stopwatch.GetElapsedTime(start, end).TotalSeconds / steps, siloUsed.Others / tokens, used.Others / tokens);
    }

    private static string Body(int stream, int round, int promptTokens, int tokens)
    {
        string prompt = string.Join(',', Enumerable.Range(0, promptTokens).Select(t => 10 + Math.Abs(stream * 31 + t * 7 + round * 13) % 200));
        return $$"""{"model":"model","prompt":[{{prompt}}],"max_tokens":{{tokens}},"temperature":0,"ignore_eos":true,"stream":true}""";
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted[sorted.Length / 2];
    }

    private readonly record struct Round(double StepSeconds, double EdgeSecondsPerToken, double LoadSecondsPerToken);
}
