using System.Globalization;

namespace Cluster.Benchmarks.Llama;

/// <summary>llama.cpp's side of the comparison: every figure comes from the reader's own programs.</summary>
internal sealed class LlamaRunner(LlamaPlan plan)
{
    /// <summary>Prompt tokens of each sequence of the concurrent test.</summary>
    public const int StreamPromptTokens = 16;

    /// <summary>Tokens that each sequence of the concurrent test decodes.</summary>
    public const int StreamDecodeTokens = 16;

    private readonly LlamaProgram _bench = new(plan.Bench, hugePages: !plan.Mapped);
    private readonly LlamaProgram? _batched = plan.BatchedBench is null ? null : new LlamaProgram(plan.BatchedBench, hugePages: !plan.Mapped);
    private string? _variant;
    private LlamaBenchTest? _build;

    /// <summary>Tokens per second of one prompt and of single-token decoding; NaN for a test that is left out.</summary>
    public async Task<(double Prefill, double Decode)> BenchAsync()
    {
        (string output, _, _) = await RunAsync(
            _bench, ["-p", Text(plan.PromptTokens), "-n", Text(plan.DecodeTokens), "-r", "1", "-o", "json"]);
        IReadOnlyList<LlamaBenchTest> tests = LlamaOutput.Bench(output);
        if (tests.FirstOrDefault(test => test.Threads != plan.Threads) is { } other)
            throw new InvalidDataException($"llama-bench ran with {other.Threads} threads instead of {plan.Threads}.");
        _build = tests[0];
        return (Of(test => test.PromptTokens > 0), Of(test => test.DecodedTokens > 0));

        double Of(Func<LlamaBenchTest, bool> chosen) => tests.FirstOrDefault(chosen)?.TokensPerSecond[0] ?? double.NaN;
    }

    /// <summary>Tokens per second of all concurrent sequences together, in the decode phase.</summary>
    public async Task<double> ConcurrentAsync()
    {
        int context = plan.Streams * (StreamPromptTokens + StreamDecodeTokens);
        (string output, _, _) = await RunAsync(
            _batched ?? throw new InvalidOperationException("No llama-batched-bench was given."),
            [
                "-c", Text(context), "-npp", Text(StreamPromptTokens), "-ntg", Text(StreamDecodeTokens), "-npl", Text(plan.Streams),
                "--output-format", "jsonl",
            ]);
        return LlamaOutput.Batched(output).Single(test => test.Streams == plan.Streams).DecodeTokensPerSecond;
    }

    /// <summary>
    /// Seconds of a whole process that loads the model and computes a prompt of 4 tokens, without warm-up. Here it maps the
    /// file, as it does by itself: its fastest start.
    /// </summary>
    public async Task<double> FirstTokenSecondsAsync() => (await _bench.RunAsync(
        ["-m", plan.Model, "-t", Text(plan.Threads), "-p", "4", "-n", "0", "-r", "1", "--no-warmup", "-o", "json", .. plan.LlamaArguments])).Seconds;

    /// <summary>Version, CPU variant and model of what has run, in one line.</summary>
    public async Task<string> DescribeAsync()
    {
        string version = await _bench.VersionAsync() ?? (_build is { } build ? $"build {build.BuildNumber}, commit {build.BuildCommit}" : "of unknown version");
        IEnumerable<string?> parts = [$"llama.cpp {version}", _variant, _build?.ModelType ?? Path.GetFileName(plan.Model), plan.Mapped ? "weights mapped" : "weights in memory"];
        return string.Join(", ", parts.Where(part => part is not null));
    }

    private async Task<(string Output, string Errors, double Seconds)> RunAsync(LlamaProgram program, string[] arguments)
    {
        IReadOnlyList<string> unmapped = plan.Mapped ? [] : await program.UnmappedFlagsAsync();
        (string output, string errors, double seconds) =
            await program.RunAsync(["-m", plan.Model, "-t", Text(plan.Threads), .. arguments, .. unmapped, .. plan.LlamaArguments]);
        _variant = LlamaOutput.CpuVariant(errors) ?? _variant;
        return (output, errors, seconds);
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
