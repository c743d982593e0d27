using System.Text.Json;

namespace Cluster.DemoModels.Gguf;

/// <summary>Writes a byte-level tokenizer.json as the vocabulary of a GGUF file.</summary>
internal sealed class GgufVocabulary(GgufWriter writer, int size)
{
    private const int Normal = 1, Control = 3, UserDefined = 4, Unused = 5;

    /// <summary>Adds tokens, types, merges, named tokens and the chat template.</summary>
    /// <param name="tokenizer">tokenizer.json.</param>
    /// <param name="settings">tokenizer_config.json.</param>
    /// <param name="pretokenizer">llama.cpp's name of the pre-tokenizer.</param>
    public void Add(JsonElement tokenizer, JsonElement settings, string pretokenizer)
    {
        JsonElement model = tokenizer.GetProperty("model");
        var tokens = new string[size];
        var types = new int[size];
        foreach (JsonProperty token in model.GetProperty("vocab").EnumerateObject())
            (tokens[token.Value.GetInt32()], types[token.Value.GetInt32()]) = (token.Name, Normal);
        foreach (JsonElement token in tokenizer.GetProperty("added_tokens").EnumerateArray())
        {
            int id = token.GetProperty("id").GetInt32();
            (tokens[id], types[id]) = (token.GetProperty("content").GetString()!, token.GetProperty("special").GetBoolean() ? Control : UserDefined);
        }
        for (int id = 0; id < tokens.Length; id++)
            if (tokens[id] is null)
                (tokens[id], types[id]) = ($"[PAD{id}]", Unused);
        writer.Add("tokenizer.ggml.model", "gpt2");
        writer.Add("tokenizer.ggml.pre", pretokenizer);
        writer.Add("tokenizer.ggml.tokens", tokens);
        writer.Add("tokenizer.ggml.token_type", types);
        writer.Add("tokenizer.ggml.merges", [.. model.GetProperty("merges").EnumerateArray().Select(merge => merge.ValueKind == JsonValueKind.String
            ? merge.GetString()!
            : $"{merge[0].GetString()} {merge[1].GetString()}")]);
        AddNames(tokenizer, settings, tokens);
    }

    private void AddNames(JsonElement tokenizer, JsonElement settings, string[] tokens)
    {
        foreach ((string key, string setting) in ((string, string)[])[("bos", "bos_token"), ("eos", "eos_token"), ("unknown", "unk_token"), ("padding", "pad_token")])
        {
            if (settings.TryGetProperty(setting, out JsonElement token) && Array.IndexOf(tokens, Spelling(token)) is >= 0 and int id)
                writer.Add($"tokenizer.ggml.{key}_token_id", (uint)id);
        }
        writer.Add("tokenizer.ggml.add_bos_token", AddsBegin(tokenizer, settings));
        if (settings.TryGetProperty("chat_template", out JsonElement template))
            writer.Add("tokenizer.chat_template", template.GetString()!);
    }

    // The configuration says so, or a template of the post-processor starts with a special token.
    private static bool AddsBegin(JsonElement tokenizer, JsonElement settings)
    {
        if (settings.TryGetProperty("add_bos_token", out JsonElement add) && add.ValueKind is JsonValueKind.True or JsonValueKind.False)
            return add.GetBoolean();
        return tokenizer.TryGetProperty("post_processor", out JsonElement post) && post.ValueKind == JsonValueKind.Object && StartsSpecial(post);
    }

    private static bool StartsSpecial(JsonElement post)
    {
        if (post.TryGetProperty("processors", out JsonElement steps))
            return steps.EnumerateArray().Any(StartsSpecial);
        return post.TryGetProperty("single", out JsonElement single) && single.EnumerateArray().First().TryGetProperty("SpecialToken", out _);
    }

    private static string? Spelling(JsonElement token) => token.ValueKind switch
    {
        JsonValueKind.String => token.GetString(),
        JsonValueKind.Object => token.GetProperty("content").GetString(),
        _ => null,
    };
}
