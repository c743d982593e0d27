using System.Collections.Immutable;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Reads the body of POST /v1/chat/completions.</summary>
internal static class ChatReader
{
    private static readonly string[] WithoutEffect =
        ["user", "service_tier", "store", "metadata", "parallel_tool_calls", "safety_identifier", "prompt_cache_key"];

    /// <summary>Reads the body; <paramref name="defaultModel"/> answers when no model is named.</summary>
    public static GenerationCall Read(JsonElement body, string? defaultModel)
    {
        var fields = new FieldReader(body);
        foreach (string name in WithoutEffect)
            fields.Take(name);
        bool stream = fields.Boolean("stream") ?? false;
        int? maxTokens = fields.Integer("max_tokens");
        maxTokens = fields.Integer("max_completion_tokens") ?? maxTokens;
        GenerationRequest request = CommonFields.Read(fields, new GenerationRequest
        {
            Model = ModelField.Read(fields, defaultModel),
            Kind = RequestKind.Chat,
            Messages = Messages(fields),
            Template = Template(fields),
            Stop = CommonFields.Stop(fields, maxTokens),
            Logprobs = Logprobs(fields),
            Presentation = CommonFields.Presentation(fields, stream),
        });
        return new GenerationCall(request, stream, fields.Unknown);
    }

    /// <summary>Reads <c>messages</c>.</summary>
    public static ImmutableArray<ChatMessage> Messages(FieldReader fields)
    {
        if (fields.Take("messages") is not { } value)
            throw FieldReader.Refuse("messages", "The field 'messages' is missing; it must be an array of messages.");
        if (value.ValueKind != JsonValueKind.Array)
            throw FieldReader.Wrong("messages", "an array of messages", value);
        if (value.GetArrayLength() == 0)
            throw FieldReader.Refuse("messages", "The field 'messages' is empty; at least one message is needed, got 0.");
        return [.. value.EnumerateArray().Select((element, i) => MessageReader.Read(element, $"messages[{i}]"))];
    }

    /// <summary>Reads the template's variables.</summary>
    public static ChatTemplateInput Template(FieldReader fields)
    {
        bool? generationPrompt = fields.Boolean("add_generation_prompt");
        bool continueFinal = fields.Boolean("continue_final_message") ?? false;
        if (continueFinal && generationPrompt == true)
            throw FieldReader.Refuse("continue_final_message", "The fields 'continue_final_message' and 'add_generation_prompt' cannot both be true.");
        return new ChatTemplateInput
        {
            AddGenerationPrompt = generationPrompt ?? !continueFinal,
            ContinueFinalMessage = continueFinal,
            ToolsJson = Tools(fields),
            ArgumentsJson = Raw(fields, "chat_template_kwargs", JsonValueKind.Object, "an object"),
        };
    }

    private static string? Tools(FieldReader fields)
    {
        string? tools = Raw(fields, "tools", JsonValueKind.Array, "an array of tools");
        if (fields.Take("tool_choice") is not { } choice)
            return tools;
        return choice.ValueKind == JsonValueKind.String ? choice.GetString() switch
        {
            "none" => null,
            "auto" => tools,
            var other => throw FieldReader.Refuse("tool_choice", $"The field 'tool_choice' must be none or auto, got '{other}': a call cannot be forced."),
        } : throw FieldReader.Refuse("tool_choice", "The field 'tool_choice' must be none or auto: a call cannot be forced.");
    }

    private static string? Raw(FieldReader fields, string name, JsonValueKind kind, string expected)
    {
        if (fields.Take(name) is not { } value)
            return null;
        return value.ValueKind == kind ? value.GetRawText() : throw FieldReader.Wrong(name, expected, value);
    }

    private static int? Logprobs(FieldReader fields)
    {
        bool wanted = fields.Boolean("logprobs") ?? false;
        int? top = fields.Integer("top_logprobs");
        if (top is > 0 && !wanted)
            throw FieldReader.Refuse("top_logprobs", $"The field 'top_logprobs' ({top}) needs 'logprobs' true.");
        return wanted ? top ?? 0 : null;
    }
}
