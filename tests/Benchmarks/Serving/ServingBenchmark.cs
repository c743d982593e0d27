using System.Diagnostics;
using System.Globalization;
using System.Text;
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

    /// <summary>Arguments: model folder, rounds (default 5).</summary>
    public static async Task<int> RunAsync(string[] arguments)
    {
        string model = arguments[0];
        int rounds = arguments.Length > 1 ? int.Parse(arguments[1], CultureInfo.InvariantCulture) : 5;
        await using KernelDecode kernels = await KernelDecode.LoadAsync(model, 32);
        using SiloProcess silo = await SiloProcess.LaunchAsync(
            Path.Combine(AppContext.BaseDirectory, "Cluster.Silo.dll"), "--model", model, "--served-model-name", "model",
            "--max-model-len", "512", "--max-num-seqs", "32", "--no-enable-prefix-caching");

        Console.WriteLine("| streams | kernels ms/step | HTTP ms/step | kernels tok/s | HTTP tok/s | HTTP/kernels | above the kernels, us/step | us per token |");
        Console.WriteLine("|---|---|---|---|---|---|---|---|");
        foreach (int streams in (int[])[1, 32])
        {
            var alone = new List<double>();
            var served = new List<double>();
            await RoundAsync(silo, streams, 0);
            for (int round = 1; round <= rounds; round++)
            {
                alone.Add(await kernels.StepSecondsAsync(streams, PromptTokens, Tokens));
                served.Add(await RoundAsync(silo, streams, round));
            }
            double step = Median(alone), through = Median(served), above = (through - step) * 1e6;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"| {streams} | {step * 1e3:0.00} | {through * 1e3:0.00} | {streams / step:0.0} | {streams / through:0.0} | {step / through:0.000} | {above:0} | {above / streams:0} |"));
        }
        return 0;
    }

    // Seconds per step of the decode phase, as the client sees it.
    private static async Task<double> RoundAsync(SiloProcess silo, int streams, int round)
    {
        long[][] times = await Task.WhenAll(Enumerable.Range(0, streams).Select(stream => StreamAsync(silo.Http, stream, round)));

        // Every stream decodes only once all have their first token; it ends when the first stream has its last one.
        long start = times.Max(stream => stream[0]), end = times.Min(stream => stream[^1]);
        double steps = times.Average(stream => stream.Count(time => time > start && time <= end));
        return Stopwatch.GetElapsedTime(start, end).TotalSeconds / steps;
    }

    private static async Task<long[]> StreamAsync(HttpClient http, int stream, int round)
    {
        string prompt = string.Join(',', Enumerable.Range(0, PromptTokens).Select(t => 10 + (stream * 31 + t * 7 + round * 13) % 200));
        string body = $$"""{"model":"model","prompt":[{{prompt}}],"max_tokens":{{Tokens}},"temperature":0,"ignore_eos":true,"stream":true}""";
        using var message = new HttpRequestMessage(HttpMethod.Post, "/v1/completions") { Content = new StringContent(body, Encoding.UTF8, "application/json") };
        using HttpResponseMessage response = await http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        response.EnsureSuccessStatusCode();
        await using Stream content = await response.Content.ReadAsStreamAsync();
        var times = new List<long>();
        var buffer = new byte[64 << 10];
        while (await content.ReadAsync(buffer) is > 0 and var count)
            AddEvents(buffer.AsSpan(0, count), times);
        return [.. times.Take(Tokens)];
    }

    // One time stamp per "data: " seen; the load generator shares the two cores, so it parses nothing.
    private static void AddEvents(ReadOnlySpan<byte> bytes, List<long> times)
    {
        long now = Stopwatch.GetTimestamp();
        for (int at; (at = bytes.IndexOf("data: {"u8)) >= 0; bytes = bytes[(at + 7)..])
            times.Add(now);
    }

    private static double Median(List<double> values)
    {
        values.Sort();
        return values[values.Count / 2];
    }
}
