using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Cluster.TestKit.Processes;

namespace Cluster.Benchmarks.Serving;

/// <summary>From the start of the silo's process to the first token of the bundled model, and the memory it then has.</summary>
internal static class StartBenchmark
{
    /// <summary>Arguments: rounds (default 5).</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        int rounds = arguments.Length > 0 ? int.Parse(arguments[0], CultureInfo.InvariantCulture) : 5;
        var ready = new List<double>();
        var first = new List<double>();
        long resident = 0;
        for (int round = 0; round < rounds; round++)
        {
            using var silo = new SiloProcess(Path.Combine(AppContext.BaseDirectory, "Cluster.Silo.dll"));
            long start = Stopwatch.GetTimestamp();
            await silo.StartAsync();
            ready.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
            await foreach (string _ in ServerSentEvents.PostAsync(silo.Http, "/v1/completions", new JsonObject { ["model"] = "cluster-demo", ["prompt"] = "Two apples and", ["max_tokens"] = 1 }))
            {
                first.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
                break;
            }
            resident = silo.Process.ResidentBytes;
        }
        ready.Sort();
        first.Sort();
        Console.WriteLine("| process start to ready, s (median, min-max) | to first token, s (median, min-max) | resident MB |");
        Console.WriteLine("|---|---|---|");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {ready[ready.Count / 2]:0.00} ({ready[0]:0.00}-{ready[^1]:0.00}) | {first[first.Count / 2]:0.00} ({first[0]:0.00}-{first[^1]:0.00}) | {resident >> 20} |"));
        return 0;
    }
}
