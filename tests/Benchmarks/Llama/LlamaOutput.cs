using System.Text.Json;
using System.Text.Json.Serialization;

namespace Cluster.Benchmarks.Llama;

/// <summary>One test of llama-bench, in the spelling of its <c>-o json</c>.</summary>
internal sealed record LlamaBenchTest
{
    /// <summary>Commit that llama.cpp was built from.</summary>
    [JsonPropertyName("build_commit"), JsonRequired]
    public required string BuildCommit { get; init; }

    /// <summary>llama.cpp's build number.</summary>
    [JsonPropertyName("build_number"), JsonRequired]
    public required int BuildNumber { get; init; }

    /// <summary>Architecture, size and stored type, such as "llama 1B Q8_0".</summary>
    [JsonPropertyName("model_type"), JsonRequired]
    public required string ModelType { get; init; }

    /// <summary>Tokens of the prompt; 0 in a decode test.</summary>
    [JsonPropertyName("n_prompt"), JsonRequired]
    public required int PromptTokens { get; init; }

    /// <summary>Tokens decoded one by one; 0 in a prompt test.</summary>
    [JsonPropertyName("n_gen"), JsonRequired]
    public required int DecodedTokens { get; init; }

    /// <summary>Threads it used.</summary>
    [JsonPropertyName("n_threads"), JsonRequired]
    public required int Threads { get; init; }

    /// <summary>Tokens per second of every repetition.</summary>
    [JsonPropertyName("samples_ts"), JsonRequired]
    public required double[] TokensPerSecond { get; init; }
}

/// <summary>One line of llama-batched-bench's <c>--output-format jsonl</c>.</summary>
internal sealed record LlamaBatchedTest
{
    /// <summary>Sequences decoded together.</summary>
    [JsonPropertyName("pl"), JsonRequired]
    public required int Streams { get; init; }

    /// <summary>Threads it used.</summary>
    [JsonPropertyName("n_threads"), JsonRequired]
    public required int Threads { get; init; }

    /// <summary>Tokens per second of the decode phase, all sequences together.</summary>
    [JsonPropertyName("speed_tg"), JsonRequired]
    public required double DecodeTokensPerSecond { get; init; }
}

/// <summary>Reads what llama.cpp's programs print.</summary>
internal static class LlamaOutput
{
    private const int ShownCharacters = 400;

    /// <summary>Tests in the standard output of <c>llama-bench -o json</c>.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public static IReadOnlyList<LlamaBenchTest> Bench(string output)
    {
        int start = output.IndexOf('[', StringComparison.Ordinal);
        LlamaBenchTest[] tests = start < 0 ? [] : Read<LlamaBenchTest[]>(output[start..], output);
        return tests.Length > 0 ? tests : throw Unreadable(output, null);
    }

    /// <summary>Tests in the standard output of <c>llama-batched-bench --output-format jsonl</c>; log lines between them do not count.</summary>
    /// <exception cref="InvalidDataException">There is none.</exception>
    public static IReadOnlyList<LlamaBatchedTest> Batched(string output)
    {
        LlamaBatchedTest[] tests =
        [
            .. output.Split('\n').Where(line => line.StartsWith('{')).Select(line => Read<LlamaBatchedTest>(line, output)),
        ];
        return tests.Length > 0 ? tests : throw Unreadable(output, null);
    }

    /// <summary>File name of the CPU library that was loaded at run time, from the error stream; null in a build with one built-in path.</summary>
    public static string? CpuVariant(string errors)
    {
        const string Marker = "loaded CPU backend from ";
        string? line = errors.Split('\n').FirstOrDefault(line => line.Contains(Marker, StringComparison.Ordinal));
        return line is null ? null : Path.GetFileName(line[(line.IndexOf(Marker, StringComparison.Ordinal) + Marker.Length)..].Trim());
    }

    /// <summary>Flags that make a llama.cpp program read the weights into memory of its own, in the spelling that its help knows.</summary>
    /// <remarks>Releases to 2025 have <c>-mmp 0</c> (llama-bench) and <c>--no-mmap</c> (the others); v0.5 has <c>-lm none</c> in both.</remarks>
    public static IReadOnlyList<string> Unmapped(string help) =>
        help.Contains("--load-mode", StringComparison.Ordinal) ? ["-lm", "none"]
        : help.Contains("--no-mmap", StringComparison.Ordinal) ? ["--no-mmap"]
        : help.Contains("-mmp", StringComparison.Ordinal) ? ["-mmp", "0"]
        : [];

    private static T Read<T>(string json, string output)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(json) ?? throw Unreadable(output, null);
        }
        catch (JsonException exception)
        {
            throw Unreadable(output, exception);
        }
    }

    private static InvalidDataException Unreadable(string output, Exception? inner) =>
        new($"llama.cpp printed no result in JSON but: {(output.Length > ShownCharacters ? output[..ShownCharacters] : output)}", inner);
}
