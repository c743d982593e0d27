using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Spectre.Console;

namespace Cluster.Cli.Bench;

/// <summary>A result as JSON (vLLM's fields) and as a table.</summary>
internal static class BenchReport
{
    /// <summary>The JSON object, UTF-8.</summary>
    /// <param name="result">What was measured.</param>
    /// <param name="options">How.</param>
    /// <param name="date">When.</param>
    /// <param name="detailed">Adds the values of every request.</param>
    public static byte[] Json(BenchResult result, BenchOptions options, DateTimeOffset date, bool detailed)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, ResultJson.Readable))
        {
            json.WriteStartObject();
            WriteSettings(json, options, date);
            WriteTotals(json, result);
            foreach ((string name, Summary summary) in Summaries(result))
                WriteSummary(json, name, summary);
            if (detailed)
                WriteRecords(json, result);
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>The summary for people.</summary>
    public static void Write(IAnsiConsole console, BenchResult result)
    {
        var totals = new Table { Border = TableBorder.None, ShowHeaders = false };
        totals.AddColumn(new TableColumn("name") { NoWrap = true, Padding = new Padding(0, 0, 3, 0) });
        totals.AddColumn(new TableColumn("value") { NoWrap = true, Alignment = Justify.Right });
        foreach ((string name, string value) in Totals(result))
            totals.AddRow(name, value);
        console.Write(totals);
        console.WriteLine();
        var latencies = new Table { Border = TableBorder.None };
        foreach (string column in new[] { "ms", "mean", "median", "std", "p50", "p90", "p99" })
            latencies.AddColumn(new TableColumn(column) { NoWrap = true, Alignment = column == "ms" ? Justify.Left : Justify.Right, Padding = new Padding(0, 0, 3, 0) });
        foreach ((string name, Summary s) in Summaries(result))
            latencies.AddRow(name, F(s.Mean), F(s.Median), F(s.Std), F(s.P50), F(s.P90), F(s.P99));
        console.Write(latencies);
    }

    private static IEnumerable<(string Name, Summary Summary)> Summaries(BenchResult result) =>
        [("ttft", result.Ttft), ("tpot", result.Tpot), ("itl", result.Itl), ("e2el", result.E2el)];

    private static IEnumerable<(string Name, string Value)> Totals(BenchResult result)
    {
        yield return ("Successful requests", result.Completed.ToString(CultureInfo.InvariantCulture));
        yield return ("Failed requests", result.Failed.ToString(CultureInfo.InvariantCulture));
        yield return ("Duration (s)", F(result.Duration));
        yield return ("Input tokens", result.TotalInputTokens.ToString(CultureInfo.InvariantCulture));
        yield return ("Output tokens", result.TotalOutputTokens.ToString(CultureInfo.InvariantCulture));
        yield return ("Requests/s", F(result.RequestThroughput));
        if (result.RequestGoodput is { } goodput)
            yield return ("Good requests/s", F(goodput));
        yield return ("Output tokens/s", F(result.OutputThroughput));
        yield return ("Total tokens/s", F(result.TotalTokenThroughput));
        yield return ("Most requests at once", result.MaxConcurrentRequests.ToString(CultureInfo.InvariantCulture));
    }

    private static void WriteSettings(Utf8JsonWriter json, BenchOptions options, DateTimeOffset date)
    {
        json.WriteString("date", date.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture));
        json.WriteString("endpoint_type", options.IsChat ? "openai-chat" : "openai");
        json.WriteString("model_id", options.Model);
        json.WriteString("tokenizer_id", options.Model);
        json.WriteNumber("num_prompts", options.PromptCount);
        if (double.IsInfinity(options.RequestRate))
            json.WriteString("request_rate", "inf");
        else
            json.WriteNumber("request_rate", options.RequestRate);
        if (double.IsInfinity(options.Burstiness))
            json.WriteString("burstiness", "inf");
        else
            json.WriteNumber("burstiness", options.Burstiness);
        if (options.MaxConcurrency is { } most)
            json.WriteNumber("max_concurrency", most);
        else
            json.WriteNull("max_concurrency");
    }

    private static void WriteTotals(Utf8JsonWriter json, BenchResult result)
    {
        json.WriteNumber("duration", result.Duration);
        json.WriteNumber("completed", result.Completed);
        json.WriteNumber("failed", result.Failed);
        json.WriteNumber("total_input_tokens", result.TotalInputTokens);
        json.WriteNumber("total_output_tokens", result.TotalOutputTokens);
        json.WriteNumber("request_throughput", result.RequestThroughput);
        if (result.RequestGoodput is { } goodput)
            json.WriteNumber("request_goodput", goodput);
        else
            json.WriteNull("request_goodput");
        json.WriteNumber("output_throughput", result.OutputThroughput);
        json.WriteNumber("total_token_throughput", result.TotalTokenThroughput);
        json.WriteNumber("max_concurrent_requests", result.MaxConcurrentRequests);
    }

    private static void WriteSummary(Utf8JsonWriter json, string name, Summary summary)
    {
        json.WriteNumber($"mean_{name}_ms", summary.Mean);
        json.WriteNumber($"median_{name}_ms", summary.Median);
        json.WriteNumber($"std_{name}_ms", summary.Std);
        json.WriteNumber($"p50_{name}_ms", summary.P50);
        json.WriteNumber($"p90_{name}_ms", summary.P90);
        json.WriteNumber($"p99_{name}_ms", summary.P99);
    }

    private static void WriteRecords(Utf8JsonWriter json, BenchResult result)
    {
        WriteArray(json, "input_lens", result.Records, record => json.WriteNumberValue(record.InputTokens));
        WriteArray(json, "output_lens", result.Records, record => json.WriteNumberValue(record.OutputTokens));
        WriteArray(json, "ttfts", result.Records, record => json.WriteNumberValue(record.Ttft));
        WriteArray(json, "itls", result.Records, record =>
        {
            json.WriteStartArray();
            foreach (double gap in record.Itl)
                json.WriteNumberValue(gap);
            json.WriteEndArray();
        });
        WriteArray(json, "generated_texts", result.Records, record => json.WriteStringValue(record.Text));
        WriteArray(json, "errors", result.Records, record => json.WriteStringValue(record.Error));
    }

    private static void WriteArray(Utf8JsonWriter json, string name, IReadOnlyList<RequestRecord> records, Action<RequestRecord> write)
    {
        json.WriteStartArray(name);
        foreach (RequestRecord record in records)
            write(record);
        json.WriteEndArray();
    }

    private static string F(double value) => value.ToString("0.00", CultureInfo.InvariantCulture);
}
