using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Writes token totals.</summary>
internal static class UsageWriter
{
    /// <summary>Writes the member <c>usage</c>; the details are known at the end only.</summary>
    public static void Write(Utf8JsonWriter json, TokenUsage usage, bool withDetails)
    {
        json.WriteStartObject("usage"u8);
        json.WriteNumber("prompt_tokens"u8, usage.PromptTokens);
        json.WriteNumber("completion_tokens"u8, usage.CompletionTokens);
        json.WriteNumber("total_tokens"u8, usage.PromptTokens + usage.CompletionTokens);
        if (withDetails)
        {
            json.WriteStartObject("prompt_tokens_details"u8);
            json.WriteNumber("cached_tokens"u8, usage.CachedTokens);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }
}
