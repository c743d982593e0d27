using System.Text.Json;

namespace Cluster.Cli.Bench;

/// <summary>What a measurement needs of one chunk, read without building a document: the load generator shares its cores with the server.</summary>
internal ref struct ChunkScan
{
    /// <summary>Token ids the chunk adds; -1 = the server does not name them.</summary>
    public int TokenIds;

    /// <summary>Text the chunk adds.</summary>
    public string Text;

    /// <summary>A choice of the chunk has a finish reason.</summary>
    public bool Finished;

    /// <summary>usage.prompt_tokens; -1 = no usage.</summary>
    public int PromptTokens;

    /// <summary>usage.completion_tokens; -1 = no usage.</summary>
    public int CompletionTokens;

    /// <summary>The message if the chunk is an error event.</summary>
    public string? Error;

    /// <summary>Whether the chunk brings tokens.</summary>
    public readonly bool HasTokens => TokenIds > 0 || (TokenIds < 0 && Text.Length > 0);

    /// <summary>Reads a chunk of a completion or chat stream.</summary>
    /// <exception cref="JsonException">Not JSON.</exception>
    public static ChunkScan Read(ReadOnlySpan<byte> chunk)
    {
        var scan = new ChunkScan { TokenIds = -1, Text = "", PromptTokens = -1, CompletionTokens = -1 };
        var json = new Utf8JsonReader(chunk);
        json.Read();
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            if (json.ValueTextEquals("choices"u8))
                scan.ReadChoices(ref json);
            else if (json.ValueTextEquals("usage"u8))
                scan.ReadUsage(ref json);
            else if (json.ValueTextEquals("error"u8))
                scan.ReadError(ref json);
            else
                json.Skip();
        }
        return scan;
    }

    private void ReadChoices(ref Utf8JsonReader json)
    {
        json.Read();
        while (json.Read() && json.TokenType == JsonTokenType.StartObject)
        {
            while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
            {
                if (json.ValueTextEquals("token_ids"u8))
                    ReadIds(ref json);
                else if (json.ValueTextEquals("text"u8))
                    ReadText(ref json);
                else if (json.ValueTextEquals("delta"u8))
                    ReadDelta(ref json);
                else if (json.ValueTextEquals("finish_reason"u8))
                    Finished |= json.Read() && json.TokenType == JsonTokenType.String;
                else
                    json.Skip();
            }
        }
    }

    private void ReadIds(ref Utf8JsonReader json)
    {
        json.Read();
        if (json.TokenType != JsonTokenType.StartArray)
            return;
        TokenIds = Math.Max(TokenIds, 0);
        while (json.Read() && json.TokenType == JsonTokenType.Number)
            TokenIds++;
    }

    private void ReadDelta(ref Utf8JsonReader json)
    {
        json.Read();
        if (json.TokenType != JsonTokenType.StartObject)
            return;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            // Thinking is generated too, and streamed under its own name.
            if (json.ValueTextEquals("content"u8) || json.ValueTextEquals("reasoning_content"u8))
                ReadText(ref json);
            else
                json.Skip();
        }
    }

    private void ReadText(ref Utf8JsonReader json)
    {
        json.Read();
        if (json.TokenType == JsonTokenType.String && !json.ValueSpan.IsEmpty)
            Text += json.GetString();
        else if (json.TokenType is JsonTokenType.StartArray or JsonTokenType.StartObject)
            json.Skip();
    }

    private void ReadUsage(ref Utf8JsonReader json)
    {
        json.Read();
        if (json.TokenType != JsonTokenType.StartObject)
            return;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            bool prompt = json.ValueTextEquals("prompt_tokens"u8);
            bool completion = json.ValueTextEquals("completion_tokens"u8);
            json.Read();
            if (prompt && json.TokenType == JsonTokenType.Number)
                PromptTokens = json.GetInt32();
            else if (completion && json.TokenType == JsonTokenType.Number)
                CompletionTokens = json.GetInt32();
            else
                json.Skip();
        }
    }

    private void ReadError(ref Utf8JsonReader json)
    {
        json.Read();
        if (json.TokenType == JsonTokenType.Null)
            return;
        using JsonDocument error = JsonDocument.ParseValue(ref json);
        Error = error.RootElement.ValueKind == JsonValueKind.Object && error.RootElement.TryGetProperty("message", out JsonElement message) && message.ValueKind == JsonValueKind.String
            ? message.GetString()!
            : error.RootElement.GetRawText();
    }
}
