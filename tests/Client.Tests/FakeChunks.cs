using System.Text.Json.Nodes;

namespace Cluster.Client.Tests;

/// <summary>The chunks of a fake session, in canonical order.</summary>
internal static class FakeChunks
{
    public static List<JsonObject> Of(string id, JsonNode body, bool chat, int tokens, bool plain)
    {
        int prompts = body["prompt"] is JsonArray array && array[0] is not JsonValue { } value ? array.Count : 1;
        if (body["prompt"] is JsonArray texts && texts[0]!.GetValueKind() == System.Text.Json.JsonValueKind.String)
            prompts = texts.Count;
        int choices = ((int?)body["n"] ?? 1) * prompts;
        bool ids = !plain && ((bool?)body["return_token_ids"] ?? false);
        List<JsonObject> chunks = [];
        for (int t = 0; t <= tokens; t++)
        {
            for (int c = 0; c < choices; c++)
                chunks.Add(Chunk(id, chat, Choice(c, t, tokens, chat, ids, plain, body), chunks.Count, plain));
        }
        if (ids && chat)
            chunks[0]["prompt_token_ids"] = new JsonArray(1, 2, 3);
        JsonObject usage = Chunk(id, chat, null, chunks.Count, plain);
        usage["usage"] = new JsonObject { ["prompt_tokens"] = 3 * prompts, ["completion_tokens"] = tokens * choices, ["total_tokens"] = (3 * prompts) + (tokens * choices), ["prompt_tokens_details"] = new JsonObject { ["cached_tokens"] = 2 } };
        chunks.Add(usage);
        return chunks;
    }

    private static JsonObject Chunk(string id, bool chat, JsonObject? choice, int number, bool plain)
    {
        var chunk = new JsonObject
        {
            ["id"] = id,
            ["object"] = chat ? "chat.completion.chunk" : "text_completion",
            ["created"] = 1_700_000_123,
            ["model"] = FakeEdge.ModelName,
            ["choices"] = choice is null ? new JsonArray() : new JsonArray(choice),
            ["usage"] = null,
        };
        if (!plain)
            chunk["sequence_number"] = number;
        return chunk;
    }

    private static JsonObject Choice(int c, int t, int tokens, bool chat, bool ids, bool plain, JsonNode body)
    {
        bool finish = t == tokens;
        string text = finish ? "" : FakeEdge.TextOf(c, t);
        var choice = new JsonObject { ["index"] = c, ["finish_reason"] = finish ? "length" : null };
        if (chat)
            choice["delta"] = finish ? new JsonObject() : new JsonObject { ["role"] = t == 0 ? "assistant" : null, ["content"] = text };
        else
            choice["text"] = text;
        if (!plain)
            choice["stop_reason"] = null;
        if (!finish && body["logprobs"] is not null)
            choice["logprobs"] = Logprobs(c, t, chat);
        if (ids)
        {
            choice["token_ids"] = finish ? new JsonArray() : new JsonArray(FakeEdge.IdOf(c, t));
            if (t == 0 && !chat)
                choice["prompt_token_ids"] = new JsonArray(1, 2, 3);
        }
        return choice;
    }

    private static JsonObject Logprobs(int c, int t, bool chat)
    {
        string text = FakeEdge.TextOf(c, t);
        return chat
            ? new JsonObject { ["content"] = new JsonArray(new JsonObject { ["token"] = text, ["logprob"] = -0.5, ["bytes"] = new JsonArray(99, 48), ["top_logprobs"] = new JsonArray(new JsonObject { ["token"] = "token_id:7", ["logprob"] = -1.5, ["bytes"] = null }) }) }
            : new JsonObject { ["tokens"] = new JsonArray(text), ["token_logprobs"] = new JsonArray(-0.5), ["top_logprobs"] = new JsonArray(new JsonObject { ["token_id:7"] = -1.5 }), ["text_offset"] = new JsonArray(0) };
    }
}
