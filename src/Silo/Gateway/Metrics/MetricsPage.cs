using System.Buffers;
using System.Globalization;
using System.Text;
using Cluster.Grains;

namespace Cluster.Silo.Gateway.Metrics;

/// <summary>Renders <c>/metrics</c> in Prometheus' text format 0.0.4, under vLLM's names.</summary>
internal sealed class MetricsPage(MetricStore store, ModelCatalog models, IEnumerable<IConstantMetrics> constants)
{
    /// <summary>Content type of the page.</summary>
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    // Names that older dashboards still ask for.
    private static readonly Dictionary<string, string> Aliases = new()
    {
        ["vllm:kv_cache_usage_perc"] = "vllm:gpu_cache_usage_perc",
        ["vllm:inter_token_latency_seconds"] = "vllm:time_per_output_token_seconds",
        ["vllm:prefix_cache_hits"] = "vllm:prompt_tokens_cached",
    };

    private static readonly string[] FinishReasons = ["stop", "length"];

    /// <summary>Writes the page.</summary>
    public void Write(IBufferWriter<byte> output)
    {
        var text = new StringBuilder(16 << 10);
        foreach (MetricFamily family in store.Collect().OrderBy(family => family.Name, StringComparer.Ordinal))
        {
            IReadOnlyList<MetricSeries> series = WithZeros(family);
            WriteFamily(text, family.Name, family, series);
            if (Aliases.TryGetValue(family.Name, out string? alias))
                WriteFamily(text, alias, family, series);
        }
        foreach (IConstantMetrics constant in constants)
            constant.Write(text);
        Encoding.UTF8.GetBytes(text.ToString(), output);
    }

    /// <summary>Writes one line of a gauge whose value is 1 or 0 and whose labels carry the content.</summary>
    public static void WriteInfo(StringBuilder text, string name, string description, IReadOnlyList<KeyValuePair<string, object?>> labels, double value)
    {
        WriteHead(text, name, description, "gauge");
        WriteLine(text, name, labels, null, value);
    }

    /// <summary>Writes HELP and TYPE.</summary>
    public static void WriteHead(StringBuilder text, string name, string description, string type)
    {
        text.Append("# HELP ").Append(name).Append(' ').Append(description.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)).Append('\n');
        text.Append("# TYPE ").Append(name).Append(' ').Append(type).Append('\n');
    }

    /// <summary>Writes one sample.</summary>
    public static void WriteLine(StringBuilder text, string name, IReadOnlyList<KeyValuePair<string, object?>> labels, string? bound, double value)
    {
        text.Append(name);
        if (labels.Count > 0 || bound is not null)
        {
            text.Append('{');
            bool first = true;
            foreach ((string key, object? content) in labels)
                AppendLabel(text, key, Convert.ToString(content, CultureInfo.InvariantCulture) ?? "", ref first);
            if (bound is not null)
                AppendLabel(text, "le", bound, ref first);
            text.Append('}');
        }
        text.Append(' ').Append(Number(value)).Append('\n');
    }

    private static void AppendLabel(StringBuilder text, string key, string value, ref bool first)
    {
        if (!first)
            text.Append(',');
        first = false;
        text.Append(key).Append("=\"");
        foreach (char c in value)
        {
            text.Append(c switch
            {
                '\\' => "\\\\",
                '"' => "\\\"",
                '\n' => "\\n",
                _ => c.ToString(),
            });
        }
        text.Append('"');
    }

    private static void WriteFamily(StringBuilder text, string name, MetricFamily family, IReadOnlyList<MetricSeries> series)
    {
        if (family.Kind == MetricKind.Counter && !name.EndsWith("_total", StringComparison.Ordinal))
            name += "_total";
        WriteHead(text, name, family.Description, family.Kind.ToString().ToLowerInvariant());
        foreach (MetricSeries one in series)
        {
            if (family.Kind == MetricKind.Histogram)
                WriteHistogram(text, name, family.Buckets, one);
            else
                WriteLine(text, name, one.Labels, null, one.Value);
        }
    }

    private static void WriteHistogram(StringBuilder text, string name, double[] buckets, MetricSeries series)
    {
        long total = 0;
        for (int i = 0; i < series.Counts.Count; i++)
        {
            total += series.Counts[i];
            WriteLine(text, name + "_bucket", series.Labels, i < buckets.Length ? Number(buckets[i]) : "+Inf", total);
        }
        WriteLine(text, name + "_sum", series.Labels, null, series.Value);
        WriteLine(text, name + "_count", series.Labels, null, total);
    }

    /// <summary>Series that have not been measured yet stand at 0: dashboards and autoscalers need them from the start.</summary>
    private List<MetricSeries> WithZeros(MetricFamily family)
    {
        var series = new List<MetricSeries>(family.Series);
        foreach (ServedModel model in models.All)
        {
            foreach (KeyValuePair<string, object?>[] labels in ZeroLabels(family, model.Description.Name))
            {
                if (!series.Any(one => IsCovered(one, labels)))
                    series.Add(new MetricSeries(labels, family.Kind == MetricKind.Histogram ? new long[family.Buckets.Length + 1] : []));
            }
        }
        return series;
    }

    private static bool IsCovered(MetricSeries series, KeyValuePair<string, object?>[] labels) =>
        labels.Where(label => label.Key != "engine").All(label => series.Labels.Contains(label));

    private static IEnumerable<KeyValuePair<string, object?>[]> ZeroLabels(MetricFamily family, string model)
    {
        KeyValuePair<string, object?>[] common = [new("model_name", model), new("engine", "0")];
        if (family.Name == "vllm:request_success")
            return FinishReasons.Select(reason => (KeyValuePair<string, object?>[])[.. common, new("finished_reason", reason)]);
        return family.Name == "vllm:admission_rejections" ? [] : [common];
    }

    private static string Number(double value) => double.IsFinite(value)
        ? value.ToString("R", CultureInfo.InvariantCulture)
        : double.IsNaN(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
}

/// <summary>Metrics that do not come from the meter.</summary>
internal interface IConstantMetrics
{
    /// <summary>Appends families to the page.</summary>
    void Write(StringBuilder text);
}
