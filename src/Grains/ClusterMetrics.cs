using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Cluster.Contracts;

namespace Cluster.Grains;

/// <summary>
/// Instruments of this silo, under vLLM's names (tags model_name and engine), so that existing dashboards and
/// autoscalers work. <c>/metrics</c> renders them; OTLP exports the same meter.
/// </summary>
internal sealed class ClusterMetrics : IDisposable
{
    /// <summary>Name of the meter and of the activity source.</summary>
    public const string SourceName = "Cluster";

    /// <summary>Spans of sessions, replicas and shards.</summary>
    public static readonly ActivitySource Activities = new(SourceName);

    private static readonly double[] FirstTokenBuckets = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560];
    private static readonly double[] TokenBuckets = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
    private static readonly double[] RequestBuckets = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
    private static readonly double[] CountBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000];

    private readonly Meter _meter = new(SourceName);
    private readonly ConcurrentDictionary<string, (string Model, ReplicaLoad Load)> _loads = new();

    /// <summary>Creates the instruments.</summary>
    public ClusterMetrics()
    {
        _meter.CreateObservableGauge("vllm:num_requests_running", () => Observe(load => (double)load.Running), description: "Sequences that hold blocks.");
        _meter.CreateObservableGauge("vllm:num_requests_waiting", () => Observe(load => (double)load.Waiting), description: "Sequences in the queue.");
        _meter.CreateObservableGauge("vllm:kv_cache_usage_perc", () => Observe(load => load.KvUsage), description: "Share of KV blocks in use, 0 to 1.");
        PromptTokens = Counter("prompt_tokens", "Prompt tokens computed.");
        GenerationTokens = Counter("generation_tokens", "Tokens generated.");
        RequestSuccess = Counter("request_success", "Finished choices, by finished_reason.");
        Preemptions = Counter("num_preemptions", "Preemptions by recompute.");
        PrefixCacheQueries = Counter("prefix_cache_queries", "Prompt tokens looked up in the prefix cache.");
        PrefixCacheHits = Counter("prefix_cache_hits", "Prompt tokens found in the prefix cache.");
        SpecDecodeDrafts = Counter("spec_decode_num_drafts", "Drafts verified.");
        SpecDecodeDraftTokens = Counter("spec_decode_num_draft_tokens", "Tokens of drafts verified.");
        SpecDecodeAcceptedTokens = Counter("spec_decode_num_accepted_tokens", "Tokens of drafts that were right.");
        SpecDecodeAcceptedTokensPerPosition = Counter("spec_decode_num_accepted_tokens_per_pos", "Tokens of drafts that were right, by position in the draft.");
        AdmissionRejections = Counter("admission_rejections", "Requests refused, by reason.");
        TimeToFirstToken = Histogram("time_to_first_token_seconds", "From acceptance to the first token.", FirstTokenBuckets);
        InterTokenLatency = Histogram("inter_token_latency_seconds", "Between tokens of a choice.", TokenBuckets);
        TimePerOutputToken = Histogram("request_time_per_output_token_seconds", "Mean time per output token of a request.", TokenBuckets);
        EndToEndLatency = Histogram("e2e_request_latency_seconds", "From acceptance to the end.", RequestBuckets);
        QueueTime = Histogram("request_queue_time_seconds", "Waiting for blocks.", RequestBuckets);
        PrefillTime = Histogram("request_prefill_time_seconds", "From first row to first token.", RequestBuckets);
        DecodeTime = Histogram("request_decode_time_seconds", "From first to last token.", RequestBuckets);
        InferenceTime = Histogram("request_inference_time_seconds", "From first row to last token.", RequestBuckets);
        RequestPromptTokens = Histogram("request_prompt_tokens", "Prompt length.", CountBuckets);
        RequestGenerationTokens = Histogram("request_generation_tokens", "Generated tokens of a choice.", CountBuckets);
        RequestMaxGenerationTokens = Histogram("request_max_num_generation_tokens", "Generated tokens of a request's longest choice.", CountBuckets);
        RequestMaxTokens = Histogram("request_params_max_tokens", "max_tokens as requested.", CountBuckets);
        RequestChoices = Histogram("request_params_n", "n as requested.", [1, 2, 5, 10, 20]);
        IterationTokens = Histogram("iteration_tokens_total", "Rows of a step.", [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]);
    }

    public Counter<long> PromptTokens { get; }
    public Counter<long> GenerationTokens { get; }
    public Counter<long> RequestSuccess { get; }
    public Counter<long> Preemptions { get; }
    public Counter<long> PrefixCacheQueries { get; }
    public Counter<long> PrefixCacheHits { get; }
    public Counter<long> SpecDecodeDrafts { get; }
    public Counter<long> SpecDecodeDraftTokens { get; }
    public Counter<long> SpecDecodeAcceptedTokens { get; }
    public Counter<long> SpecDecodeAcceptedTokensPerPosition { get; }
    public Counter<long> AdmissionRejections { get; }
    public Histogram<double> TimeToFirstToken { get; }
    public Histogram<double> InterTokenLatency { get; }
    public Histogram<double> TimePerOutputToken { get; }
    public Histogram<double> EndToEndLatency { get; }
    public Histogram<double> QueueTime { get; }
    public Histogram<double> PrefillTime { get; }
    public Histogram<double> DecodeTime { get; }
    public Histogram<double> InferenceTime { get; }
    public Histogram<double> RequestPromptTokens { get; }
    public Histogram<double> RequestGenerationTokens { get; }
    public Histogram<double> RequestMaxGenerationTokens { get; }
    public Histogram<double> RequestMaxTokens { get; }
    public Histogram<double> RequestChoices { get; }
    public Histogram<double> IterationTokens { get; }

    /// <summary>Tags of every instrument.</summary>
    public static TagList Tags(string model, string engine) => new() { { "model_name", model }, { "engine", engine } };

    /// <summary>Reports a replica's load to the gauges of this silo.</summary>
    public void ReportLoad(string replicaKey, string model, ReplicaLoad load) => _loads[replicaKey] = (model, load);

    /// <summary>Forgets a replica that left this silo.</summary>
    public void ForgetReplica(string replicaKey) => _loads.TryRemove(replicaKey, out _);

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private Counter<long> Counter(string name, string description) => _meter.CreateCounter<long>("vllm:" + name, description: description);

    private Histogram<double> Histogram(string name, string description, double[] buckets) => _meter.CreateHistogram(
        "vllm:" + name,
        description: description,
        advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = buckets });

    private IEnumerable<Measurement<double>> Observe(Func<ReplicaLoad, double> value) =>
        _loads.Select(entry => new Measurement<double>(value(entry.Value.Load), Tags(entry.Value.Model, EngineOf(entry.Key))));

    private static string EngineOf(string replicaKey) => replicaKey[(replicaKey.LastIndexOf('/') + 1)..];
}
