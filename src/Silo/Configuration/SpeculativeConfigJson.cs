using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Configuration;

/// <summary>The value of <c>--speculative-config</c>: a JSON object with vLLM's keys.</summary>
internal static class SpeculativeConfigJson
{
    private const int LongestLookup = 64;
    private static readonly string[] Methods = [SpeculativeConfig.Ngram, SpeculativeConfig.DraftModel];

    /// <summary>What is wrong with a value, or null.</summary>
    public static string? Check(string json)
    {
        try
        {
            Parse(json);
            return null;
        }
        catch (FormatException problem)
        {
            return problem.Message;
        }
    }

    /// <summary>Reads a value.</summary>
    /// <exception cref="FormatException">Names the key, its limits and the actual value.</exception>
    public static SpeculativeConfig Parse(string json)
    {
        using JsonDocument document = Open(json);
        if (document.RootElement.ValueKind != JsonValueKind.Object)
            throw new FormatException($"must be a JSON object, got {document.RootElement.ValueKind}");
        var fields = new Dictionary<string, JsonElement>(StringComparer.Ordinal);
        foreach (JsonProperty field in document.RootElement.EnumerateObject())
            fields[field.Name] = field.Value;
        string method = Take(fields, "method") is { ValueKind: JsonValueKind.String } name ? name.GetString()! : throw new FormatException($"method: must be one of {string.Join(", ", Methods)}");
        if (!Methods.Contains(method))
            throw new FormatException($"method: must be one of {string.Join(", ", Methods)}, got '{method}'");
        int tokens = Number(fields, "num_speculative_tokens", 1, SpeculativeConfig.MaxTokens, null);
        var config = new SpeculativeConfig { Method = method, NumSpeculativeTokens = tokens, IsFixedLength = !Switch(fields, "adaptive", true) };
        config = method == SpeculativeConfig.Ngram ? Lookup(config, fields) : config with { Model = Text(fields, "model") };
        return fields.Count == 0 ? config : throw new FormatException($"'{fields.Keys.First()}' is not a key of method '{method}'; {Keys(method)}");
    }

    private static string Keys(string method) => "its keys are method, num_speculative_tokens, adaptive"
        + (method == SpeculativeConfig.Ngram ? ", prompt_lookup_max and prompt_lookup_min" : " and model (a path, or the served name of another model)");

    private static SpeculativeConfig Lookup(SpeculativeConfig config, Dictionary<string, JsonElement> fields)
    {
        int longest = Number(fields, "prompt_lookup_max", 1, LongestLookup, 5);
        int shortest = Number(fields, "prompt_lookup_min", 1, longest, Math.Min(2, longest));
        return config with { PromptLookupMax = longest, PromptLookupMin = shortest };
    }

    private static JsonDocument Open(string json)
    {
        try
        {
            return JsonDocument.Parse(json);
        }
        catch (JsonException problem)
        {
            throw new FormatException($"is not JSON: {problem.Message}", problem);
        }
    }

    private static JsonElement? Take(Dictionary<string, JsonElement> fields, string key) => fields.Remove(key, out JsonElement value) ? value : null;

    private static bool Switch(Dictionary<string, JsonElement> fields, string key, bool otherwise) => Take(fields, key) switch
    {
        null => otherwise,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } other => throw new FormatException($"{key}: must be true or false, got {other.GetRawText()}"),
    };

    private static string Text(Dictionary<string, JsonElement> fields, string key) =>
        Take(fields, key) is { ValueKind: JsonValueKind.String } text && text.GetString() is { Length: > 0 } value ? value : throw new FormatException($"{key}: must be a text");

    private static int Number(Dictionary<string, JsonElement> fields, string key, int minimum, int maximum, int? otherwise)
    {
        JsonElement? field = Take(fields, key);
        if (field is null && otherwise is { } value)
            return value;
        return field is { ValueKind: JsonValueKind.Number } number && number.TryGetInt32(out int read) && read >= minimum && read <= maximum
            ? read
            : throw new FormatException($"{key}: must be {minimum}..{maximum}, got {field?.GetRawText() ?? "nothing"}");
    }
}
