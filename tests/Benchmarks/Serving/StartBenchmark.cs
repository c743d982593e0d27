using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Cluster.Kernels.Execution;
using Cluster.TestKit.Processes;

namespace Cluster.Benchmarks.Serving;

/// <summary>From the start of the silo's process to the first token, and the memory it then has.</summary>
internal static class StartBenchmark
{
    /// <summary>Arguments: rounds (default 5), model (default: the bundled one).</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        int rounds = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : 5;
        string? model = arguments.Length > 1 ? arguments[1] : null;
        var starts = new List<(double Ready, double FirstToken, long ResidentBytes)>();
        for (int round = 0; round < rounds; round++)
            starts.Add(await StartAsync(model));
        double[] ready = [.. starts.Select(start => start.Ready).Order()], first = [.. starts.Select(start => start.FirstToken).Order()];
        Console.WriteLine("| process start to ready, s (median, min-max) | to first token, s (median, min-max) | resident MB |");
        Console.WriteLine("|---|---|---|");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {ready[ready.Length / 2]:0.00} ({ready[0]:0.00}-{ready[^1]:0.00}) | {first[first.Length / 2]:0.00} ({first[0]:0.00}-{first[^1]:0.00}) | {starts[^1].ResidentBytes >> 20} |"));
        return 0;
    }

    /// <summary>Starts a silo, asks for one token and ends it.</summary>
    /// <param name="model">What <c>--model</c> takes; null serves the bundled model.</param>
    /// <param name="quantization">What <c>--quantization</c> takes.</param>
    /// <returns>Seconds from the process's start until it is ready and until the first token is here; its resident memory then.</returns>
    public static async Task<(double Ready, double FirstToken, long ResidentBytes)> StartAsync(string? model, WeightQuantization quantization = WeightQuantization.None)
    {
        string[] chosen = model is null ? [] : ["--model", model, "--served-model-name", "cluster-demo", "--quantization", quantization.ToString().ToLowerInvariant()];
        using var silo = new SiloProcess(Path.Combine(AppContext.BaseDirectory, "Cluster.Silo.dll"), chosen);
        long start = Stopwatch.GetTimestamp();
        await silo.StartAsync();
        double ready = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var request = new JsonObject { ["model"] = "cluster-demo", ["prompt"] = "Two apples and", ["max_tokens"] = 1 };
        await foreach (string _ in ServerSentEvents.PostAsync(silo.Http, "/v1/completions", request))
            return (ready, Stopwatch.GetElapsedTime(start).TotalSeconds, silo.Process.ResidentBytes);
        throw new InvalidOperationException($"The silo sent no token:\n{silo.Process.Output}");
    }
}
