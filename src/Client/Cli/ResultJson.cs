using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Cluster.Client;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary>An answer as JSON for <c>--json</c>.</summary>
internal static class ResultJson
{
    /// <summary>Text is left readable: this goes to a terminal or a file, not into a web page.</summary>
    public static readonly JsonWriterOptions Readable = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>The answer.</summary>
    public static string Write(GenerationResult result)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer, Readable))
        {
            json.WriteStartObject();
            json.WriteString("id", result.SessionId);
            json.WriteString("model", result.Model);
            json.WriteNumber("created", result.Created.ToUnixTimeSeconds());
            json.WriteStartArray("choices");
            foreach (GenerationChoice choice in result.Choices)
                WriteChoice(json, choice);
            json.WriteEndArray();
            WriteUsage(json, result.Usage);
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    private static void WriteChoice(Utf8JsonWriter json, GenerationChoice choice)
    {
        json.WriteStartObject();
        json.WriteNumber("index", choice.Index);
        json.WriteString("text", choice.Text);
        json.WriteStartArray("token_ids");
        foreach (int id in choice.TokenIds)
            json.WriteNumberValue(id);
        json.WriteEndArray();
        json.WriteString("finish_reason", choice.FinishReason);
        json.WriteEndObject();
    }

    private static void WriteUsage(Utf8JsonWriter json, TokenUsage usage)
    {
        json.WriteStartObject("usage");
        json.WriteNumber("prompt_tokens", usage.PromptTokens);
        json.WriteNumber("completion_tokens", usage.CompletionTokens);
        json.WriteNumber("total_tokens", usage.PromptTokens + usage.CompletionTokens);
        json.WriteNumber("cached_tokens", usage.CachedTokens);
        json.WriteEndObject();
    }
}
