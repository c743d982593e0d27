using System.Globalization;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Writes log-probabilities in the two shapes of the API.</summary>
internal sealed class LogprobWriter(bool tokensAsTokenIds)
{
    // OpenAI's stand-in for "very unlikely": JSON has no infinity.
    private const float Unlikely = -9999;

    /// <summary>Token as the API spells it: token_id:N when asked for, or when the model has no tokenizer.</summary>
    public string Spell(TokenAlternative token) => tokensAsTokenIds || (token.Text.Length == 0 && token.Bytes.IsDefaultOrEmpty)
        ? string.Create(CultureInfo.InvariantCulture, $"token_id:{token.TokenId}")
        : token.Text;

    /// <summary>Chat: <c>{"content":[...],"refusal":null}</c>.</summary>
    public void WriteChat(Utf8JsonWriter json, ReadOnlySpan<TokenLogprob> tokens)
    {
        json.WriteStartObject();
        json.WriteStartArray("content"u8);
        foreach (TokenLogprob token in tokens)
        {
            json.WriteStartObject();
            WriteMembers(json, token.Token);
            json.WriteStartArray("top_logprobs"u8);
            foreach (TokenAlternative alternative in token.Top)
            {
                json.WriteStartObject();
                WriteMembers(json, alternative);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteNull("refusal"u8);
        json.WriteEndObject();
    }

    /// <summary>
    /// Completions: parallel arrays. <paramref name="offset"/> is the first token's place in the text, in code points;
    /// returns the place after the last.
    /// </summary>
    public int WriteCompletion(Utf8JsonWriter json, ReadOnlySpan<TokenLogprob> tokens, int offset)
    {
        json.WriteStartObject();
        json.WriteStartArray("text_offset"u8);
        foreach (TokenLogprob token in tokens)
        {
            json.WriteNumberValue(offset);
            offset += CodePoints(token.Token.Text);
        }
        json.WriteEndArray();
        json.WriteStartArray("token_logprobs"u8);
        foreach (TokenLogprob token in tokens)
            WriteLogprob(json, token.Token.Logprob);
        json.WriteEndArray();
        json.WriteStartArray("tokens"u8);
        foreach (TokenLogprob token in tokens)
            json.WriteStringValue(Spell(token.Token));
        json.WriteEndArray();
        json.WriteStartArray("top_logprobs"u8);
        foreach (TokenLogprob token in tokens)
            WriteTop(json, token);
        json.WriteEndArray();
        json.WriteEndObject();
        return offset;
    }

    private void WriteTop(Utf8JsonWriter json, TokenLogprob token)
    {
        if (float.IsNaN(token.Token.Logprob))
        {
            json.WriteNullValue();
            return;
        }
        json.WriteStartObject();
        var written = new List<string>(token.Top.Length + 1);
        foreach (TokenAlternative alternative in token.Top.Append(token.Token))
        {
            // Different tokens may have the same text: the likelier one comes first and stays.
            string name = Spell(alternative);
            if (written.Contains(name))
                continue;
            written.Add(name);
            json.WritePropertyName(name);
            WriteLogprob(json, alternative.Logprob);
        }
        json.WriteEndObject();
    }

    private void WriteMembers(Utf8JsonWriter json, TokenAlternative token)
    {
        json.WriteString("token"u8, Spell(token));
        json.WritePropertyName("logprob"u8);
        WriteLogprob(json, token.Logprob);
        if (token.Bytes.IsDefault)
        {
            json.WriteNull("bytes"u8);
            return;
        }
        json.WriteStartArray("bytes"u8);
        foreach (byte b in token.Bytes)
            json.WriteNumberValue(b);
        json.WriteEndArray();
    }

    private static void WriteLogprob(Utf8JsonWriter json, float logprob)
    {
        if (float.IsNaN(logprob))
            json.WriteNullValue();
        else
            json.WriteNumberValue(float.IsFinite(logprob) ? logprob : Unlikely);
    }

    /// <summary>Length of a text in Unicode code points, as OpenAI counts offsets.</summary>
    public static int CodePoints(string text)
    {
        int count = 0;
        foreach (char c in text)
            count += char.IsLowSurrogate(c) ? 0 : 1;
        return count;
    }
}
