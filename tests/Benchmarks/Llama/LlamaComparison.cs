using System.Globalization;
using Cluster.Benchmarks.Serving;
using Cluster.Kernels.Cpu;

namespace Cluster.Benchmarks.Llama;

/// <summary>
/// The <c>llama</c> command: rounds of the reader's llama.cpp alternate with rounds of our engine on the same weights and
/// threads. A ratio is the median over the rounds' ratios, so that a drift of the machine meets both sides alike.
/// </summary>
internal sealed class LlamaComparison(LlamaPlan plan)
{
    private readonly LlamaRunner _llama = new(plan);
    private readonly Dictionary<string, List<(double Llama, double Ours)>> _rates = [];
    private readonly List<(double Llama, double Ours)> _seconds = [];

    /// <summary>Runs all rounds and prints a Markdown table.</summary>
    public async Task RunAsync()
    {
        int longest = Math.Max(plan.PromptTokens, 1 + plan.DecodeTokens) + 1;
        int sequences = Math.Max(1, plan.Streams);
        await using (KernelDecode ours = await KernelDecode.LoadAsync(plan.OurModel, sequences, plan.Threads, Math.Max(512, longest), plan.Quantization))
        {
            for (int round = 0; round < plan.Rounds; round++)
                await RoundAsync(ours);
        }

        // Our engine in this process is gone: each side starts with the memory to itself.
        for (int round = 0; plan.FirstToken && round < plan.Rounds; round++)
            _seconds.Add((await _llama.FirstTokenSecondsAsync(), (await StartBenchmark.StartAsync(plan.OurModel, plan.Quantization)).FirstToken));
        Print(await _llama.DescribeAsync());
    }

    private async Task RoundAsync(KernelDecode ours)
    {
        (double prefill, double decode) = plan.PromptTokens + plan.DecodeTokens > 0 ? await _llama.BenchAsync() : (double.NaN, double.NaN);
        (double ourPrefill, double ourDecode) = await OursAsync(ours);
        if (plan.DecodeTokens > 0)
            Add("decode, 1 stream", decode, ourDecode);
        if (plan.PromptTokens > 0)
            Add($"prefill, {plan.PromptTokens} tokens", prefill, ourPrefill);
        if (plan.Streams > 0 && plan.BatchedBench is not null)
        {
            double concurrent = await _llama.ConcurrentAsync();
            double seconds = await ours.StepSecondsAsync(plan.Streams, LlamaRunner.StreamPromptTokens, LlamaRunner.StreamDecodeTokens + 1);
            Add($"decode, {plan.Streams} streams", concurrent, plan.Streams / seconds);
        }
    }

    // Like llama-bench: decoding starts from an almost empty context, and every test first runs unmeasured.
    private async Task<(double Prefill, double Decode)> OursAsync(KernelDecode ours)
    {
        (double prefill, double decode) = (double.NaN, double.NaN);
        if (plan.PromptTokens > 0)
        {
            await ours.PrefillSecondsAsync(plan.PromptTokens);
            prefill = plan.PromptTokens / await ours.PrefillSecondsAsync(plan.PromptTokens);
        }
        if (plan.DecodeTokens > 0)
        {
            await ours.StepSecondsAsync(1, promptTokens: 1, steps: 3);
            decode = 1 / await ours.StepSecondsAsync(1, promptTokens: 1, plan.DecodeTokens + 1);
        }
        return (prefill, decode);
    }

    private void Add(string test, double llama, double ours)
    {
        if (!_rates.TryGetValue(test, out List<(double, double)>? rounds))
            _rates.Add(test, rounds = []);
        rounds.Add((llama, ours));
    }

    private void Print(string llama)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{llama}; cluster {Path.GetFileName(Path.TrimEndingDirectorySeparator(plan.OurModel))} {plan.Quantization} {CpuPaths.Best}; {plan.Threads} threads each, medians of {plan.Rounds} alternating rounds\n"));
        Console.WriteLine("| | llama.cpp | cluster | cluster / llama.cpp (min-max) |\n|---|---|---|---|");
        foreach ((string test, List<(double Llama, double Ours)> rounds) in _rates)
            Row($"{test}, tokens/s", rounds, round => round.Ours / round.Llama, "0.0");
        if (_seconds.Count > 0)
            Row("process start to first token, s", _seconds, round => round.Ours / round.Llama, "0.00");
    }

    private static void Row(string name, List<(double Llama, double Ours)> rounds, Func<(double Llama, double Ours), double> ratio, string format)
    {
        double[] ratios = [.. rounds.Select(ratio).Order()];
        string llama = Median(rounds.Select(round => round.Llama)).ToString(format, CultureInfo.InvariantCulture);
        string ours = Median(rounds.Select(round => round.Ours)).ToString(format, CultureInfo.InvariantCulture);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {name} | {llama} | {ours} | {Median(ratios):0.00} ({ratios[0]:0.00}-{ratios[^1]:0.00}) |"));
    }

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
