using System.Globalization;
using System.Text.RegularExpressions;
using Cluster.Contracts;
using Cluster.Grains;

namespace Cluster.Silo.Tests.Gateway;

/// <summary>/metrics against the rules of Prometheus' text format, and vLLM's names.</summary>
public sealed partial class MetricsTests
{
    // The names that llm-d-inference-sim emulates: what schedulers and dashboards ask for.
    private static readonly string[] Needed =
    [
        "vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc",
        "vllm:prompt_tokens_total", "vllm:generation_tokens_total", "vllm:request_success_total", "vllm:num_preemptions_total",
        "vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total", "vllm:time_to_first_token_seconds",
        "vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds",
        "vllm:e2e_request_latency_seconds", "vllm:request_queue_time_seconds", "vllm:request_inference_time_seconds",
        "vllm:request_prefill_time_seconds", "vllm:request_decode_time_seconds", "vllm:request_prompt_tokens",
        "vllm:request_generation_tokens", "vllm:request_max_num_generation_tokens", "vllm:prompt_tokens_cached_total", "vllm:request_params_max_tokens", "vllm:request_params_n", "vllm:iteration_tokens_total",
    ];

    [Fact]
    public async Task ThePageIsValidAndCompleteBeforeTheFirstRequest()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        Dictionary<string, Family> page = await Parse(gateway);
        foreach (string name in Needed)
        {
            Assert.True(page.ContainsKey(name), name);
            Assert.NotEmpty(page[name].Samples);
            Assert.All(page[name].Samples, sample => Assert.Contains("model_name=\"m\"", sample.Labels, StringComparison.Ordinal));
            Assert.All(page[name].Samples, sample => Assert.Equal(0, sample.Value));
        }
    }

    [Fact]
    public async Task MeasurementsArrive()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        var metrics = gateway.Get<ClusterMetrics>();
        await Parse(gateway);
        var tags = ClusterMetrics.Tags("m", "0");
        metrics.PromptTokens.Add(5, tags);
        metrics.PromptTokens.Add(7, tags);
        metrics.RequestSuccess.Add(1, new("model_name", "m"), new("engine", "0"), new("finished_reason", "stop"));
        foreach (double seconds in new[] { 0.0005, 0.001, 0.3, 9999 })
            metrics.TimeToFirstToken.Record(seconds, tags);
        metrics.ReportLoad("m/0", "m", new ReplicaLoad { Running = 3, Waiting = 2, KvUsage = 0.25 });
        metrics.PromptTokens.Add(1, ClusterMetrics.Tags("odd\"name\\\n", "0"));
        Dictionary<string, Family> page = await Parse(gateway);
        Assert.Equal(12, page["vllm:prompt_tokens_total"].Samples.Single(s => s.Labels.Contains("\"m\"", StringComparison.Ordinal)).Value);
        Assert.Contains(page["vllm:prompt_tokens_total"].Samples, s => s.Labels.Contains("model_name=\"odd\\\"name\\\\\\n\"", StringComparison.Ordinal));
        Assert.Equal([1.0, 0.0], page["vllm:request_success_total"].Samples.Select(s => s.Value));
        Assert.Equal((3, 2, 0.25), (page["vllm:num_requests_running"].Value, page["vllm:num_requests_waiting"].Value, page["vllm:kv_cache_usage_perc"].Value));
        Sample[] buckets = [.. page["vllm:time_to_first_token_seconds"].Samples.Where(s => s.Name.EndsWith("_bucket", StringComparison.Ordinal))];
        Assert.Equal(2, buckets.Single(s => s.Labels.Contains("le=\"0.001\"", StringComparison.Ordinal)).Value);
        Assert.Equal(3, buckets.Single(s => s.Labels.Contains("le=\"2560\"", StringComparison.Ordinal)).Value);
        Assert.Equal(4, buckets.Single(s => s.Labels.Contains("le=\"+Inf\"", StringComparison.Ordinal)).Value);
        metrics.ForgetReplica("m/0");
        Assert.Equal(0, (await Parse(gateway))["vllm:num_requests_running"].Value);
    }

    /// <summary>Parses the page and checks promtool's rules: HELP and TYPE once before the samples, families together, buckets cumulative.</summary>
    private static async Task<Dictionary<string, Family>> Parse(GatewayFixture gateway)
    {
        using HttpResponseMessage response = await gateway.Http.GetAsync("/metrics");
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", response.Content.Headers.ContentType!.ToString());
        string text = await response.Content.ReadAsStringAsync();
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        var families = new Dictionary<string, Family>();
        Family? current = null;
        string? help = null;
        foreach (string line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.StartsWith("# HELP ", StringComparison.Ordinal))
            {
                help = line.Split(' ')[2];
                continue;
            }
            if (line.StartsWith("# TYPE ", StringComparison.Ordinal))
            {
                string[] words = line.Split(' ');
                Assert.Equal(help, words[2]);
                Assert.Matches("^[a-zA-Z_:][a-zA-Z0-9_:]*$", words[2]);
                current = new Family(words[2], words[3], []);
                Assert.True(families.TryAdd(words[2], current), $"{words[2]} twice");
                continue;
            }
            Match match = SampleLine().Match(line);
            Assert.True(match.Success, line);
            Assert.True(IsOf(match.Groups[1].Value, current!), line);
            current!.Samples.Add(new Sample(match.Groups[1].Value, match.Groups[2].Value, Number(match.Groups[3].Value)));
        }
        foreach (Family family in families.Values)
            CheckFamily(family);
        return families;
    }

    private static void CheckFamily(Family family)
    {
        Assert.Equal(family.Samples.Count, family.Samples.Select(sample => sample.Name + sample.Labels).Distinct().Count());
        if (family.Type == "counter")
            Assert.EndsWith("_total", family.Name, StringComparison.Ordinal);
        if (family.Type != "histogram")
            return;
        foreach (IGrouping<string, Sample> series in family.Samples.Where(s => s.Name.EndsWith("_bucket", StringComparison.Ordinal)).GroupBy(s => Bound().Replace(s.Labels, "")))
        {
            double[] bounds = [.. series.Select(s => Number(Bound().Match(s.Labels).Groups[1].Value))];
            Assert.Equal(bounds.Order(), bounds);
            Assert.Equal(double.PositiveInfinity, bounds[^1]);
            double[] counts = [.. series.Select(s => s.Value)];
            Assert.Equal(counts.Order(), counts);
            Assert.Equal(counts[^1], family.Samples.Single(s => s.Name == family.Name + "_count" && s.Labels == series.Key).Value);
        }
    }

    private static bool IsOf(string name, Family family) => family.Type == "histogram"
        ? name == family.Name + "_bucket" || name == family.Name + "_sum" || name == family.Name + "_count"
        : name == family.Name;

    private static double Number(string text) => text == "+Inf" ? double.PositiveInfinity : double.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex("""^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*",?)*\})? (\S+)$""")]
    private static partial Regex SampleLine();

    [GeneratedRegex(""",le="([^"]*)"|(?<=\{)le="([^"]*)",?""")]
    private static partial Regex Bound();

    private sealed record Sample(string Name, string Labels, double Value);

    private sealed record Family(string Name, string Type, List<Sample> Samples)
    {
        public double Value => Samples.Single().Value;
    }
}
