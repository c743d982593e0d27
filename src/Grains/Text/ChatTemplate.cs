using System.Text.Json;
using Cluster.Contracts;
using Cluster.Grains.Text.Templates;
using Cluster.Grains.Text.Tokenization;
using Cluster.Kernels.Models.Gguf;

namespace Cluster.Grains.Text;

/// <summary>
/// A checkpoint's chat template: Jinja as Hugging Face runs it (trim_blocks, lstrip_blocks, loop controls, an immutable
/// sandbox, <c>raise_exception</c>, <c>strftime_now</c>, <c>tojson</c> with keys in order). Parsed once; safe for many
/// threads. Work, output and nesting of a rendering are bounded.
/// </summary>
internal sealed class ChatTemplate
{
    private const string ToolTemplateName = "tool_use";

    private readonly Dictionary<string, ParsedTemplate> _templates;
    private readonly IReadOnlyDictionary<string, string> _specialTokens;
    private readonly TimeProvider _time;
    private readonly TemplateLimits _limits;

    private ChatTemplate(
        Dictionary<string, ParsedTemplate> templates, IReadOnlyDictionary<string, string> specialTokens, TimeProvider time, TemplateLimits limits)
    {
        _templates = templates;
        _specialTokens = specialTokens;
        _time = time;
        _limits = limits;
    }

    /// <summary>Loads the template of a model folder, or gives null where the checkpoint has none.</summary>
    /// <param name="modelFolder">The checkpoint's folder.</param>
    /// <param name="time">The clock of <c>strftime_now</c>, with its local time zone.</param>
    /// <exception cref="ChatTemplateException">The template is not valid.</exception>
    /// <exception cref="TokenizerFormatException">tokenizer_config.json is not valid.</exception>
    public static ChatTemplate? TryLoad(string modelFolder, TimeProvider time)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelFolder);
        Dictionary<string, string> sources = ChatTemplateSources.Read(modelFolder);
        return sources.Count == 0
            ? null
            : Create(sources, TokenizerSettings.ReadSpecialTokens(modelFolder), time, TemplateLimits.Default);
    }

    /// <summary>The template inside a GGUF file, or null where it has none.</summary>
    /// <exception cref="ChatTemplateException">The template is not valid.</exception>
    public static ChatTemplate? TryCreate(GgufFields fields, IReadOnlyDictionary<string, string> specialTokens, TimeProvider time)
    {
        Dictionary<string, string> sources = GgufTokenizerReader.ReadChatTemplates(fields);
        return sources.Count == 0 ? null : Create(sources, specialTokens, time, TemplateLimits.Default);
    }

    /// <summary>As <see cref="TryLoad"/>, but a checkpoint without a template is an error.</summary>
    public static ChatTemplate Load(string modelFolder, TimeProvider time) => TryLoad(modelFolder, time)
        ?? throw new ChatTemplateException(ChatTemplateFailure.Missing,
            $"the checkpoint has no chat template: neither {ChatTemplateSources.FileName} nor chat_template in {TokenizerFiles.ConfigName}");

    /// <summary>Makes a template of its text.</summary>
    public static ChatTemplate Parse(
        string source, IReadOnlyDictionary<string, string> specialTokens, TimeProvider time, TemplateLimits? limits = null) =>
        Create(new Dictionary<string, string> { [ChatTemplateSources.DefaultName] = source }, specialTokens, time,
            limits ?? TemplateLimits.Default);

    /// <summary>The prompt of a request's conversation.</summary>
    /// <exception cref="ChatTemplateException">The template refuses the conversation or cannot render it.</exception>
    public string Render(IReadOnlyList<ChatMessage> messages, ChatTemplateInput input)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ArgumentNullException.ThrowIfNull(input);
        return Render(new ChatConversation
        {
            Messages = ParseOptional(ChatMessageJson.Write(messages))!.Value,
            Tools = ParseOptional(input.ToolsJson),
            AddGenerationPrompt = input.AddGenerationPrompt,
            ContinueFinalMessage = input.ContinueFinalMessage,
            Extra = ParseOptional(input.ArgumentsJson),
        });
    }

    /// <summary>The prompt of a conversation.</summary>
    /// <exception cref="ChatTemplateException">The template refuses the conversation or cannot render it.</exception>
    public string Render(ChatConversation conversation)
    {
        ArgumentNullException.ThrowIfNull(conversation);
        ParsedTemplate template = Select(conversation);
        var context = new RenderContext(Variables(conversation, template), _time, _limits);
        try
        {
            template.Body.Execute(context);
        }
        catch (ChatTemplateException exception) when (exception.Failure is ChatTemplateFailure.Evaluation or ChatTemplateFailure.Limit)
        {
            throw new ChatTemplateException(exception.Failure,
                $"the chat template cannot render this conversation (line {context.Budget.Line}: {exception.Message})", exception);
        }

        string prompt = context.Output.ToString();
        return conversation.ContinueFinalMessage ? CutAfterFinalMessage(prompt, conversation.Messages) : prompt;
    }

    private static ChatTemplate Create(Dictionary<string, string> sources,
        IReadOnlyDictionary<string, string> specialTokens, TimeProvider time, TemplateLimits limits)
    {
        ArgumentNullException.ThrowIfNull(specialTokens);
        ArgumentNullException.ThrowIfNull(time);
        var templates = sources.ToDictionary(entry => entry.Key, entry => TemplateParser.Parse(entry.Value, limits));
        return new ChatTemplate(templates, specialTokens, time, limits);
    }

    private ParsedTemplate Select(ChatConversation conversation)
    {
        if (conversation.Tools is not null && _templates.TryGetValue(ToolTemplateName, out ParsedTemplate? forTools))
            return forTools;
        return _templates.TryGetValue(ChatTemplateSources.DefaultName, out ParsedTemplate? template)
            ? template
            : throw new ChatTemplateException(ChatTemplateFailure.Missing,
                $"the checkpoint has no template named '{ChatTemplateSources.DefaultName}', only {string.Join(", ", _templates.Keys)}");
    }

    private Scope Variables(ChatConversation conversation, ParsedTemplate template)
    {
        Scope variables = TemplateFunctions.NewGlobals();
        foreach ((string name, string spelling) in _specialTokens)
            variables.Set(name, spelling);
        try
        {
            object? messages = JsonText.Read(conversation.Messages);
            variables.Set("messages", template.ReadsContentParts ? messages : ContentParts.Join(messages));
            variables.Set("tools", conversation.Tools is { } tools ? JsonText.Read(tools) : null);
            variables.Set("documents", null);
            variables.Set("add_generation_prompt", conversation.AddGenerationPrompt);
            if (conversation.Extra is { ValueKind: JsonValueKind.Object } extra)
            {
                foreach (JsonProperty property in extra.EnumerateObject())
                    variables.Set(property.Name, JsonText.Read(property.Value));
            }
        }
        catch (InvalidOperationException exception)
        {
            throw new ChatTemplateException(
                ChatTemplateFailure.Evaluation, "a string of the conversation is not valid text", exception);
        }

        return variables;
    }

    // As transformers does it: the prompt ends where the last message's text ends.
    private static string CutAfterFinalMessage(string prompt, JsonElement messages)
    {
        string final = messages.ValueKind == JsonValueKind.Array && messages.GetArrayLength() > 0
            && messages[messages.GetArrayLength() - 1] is { ValueKind: JsonValueKind.Object } last
            && last.TryGetProperty("content", out JsonElement content) && content.ValueKind == JsonValueKind.String
            ? content.GetString()! : "";
        string trimmed = final.Trim();
        int start = trimmed.Length == 0 ? -1 : prompt.LastIndexOf(trimmed, StringComparison.Ordinal);
        if (start < 0)
        {
            throw new ChatTemplateException(ChatTemplateFailure.Evaluation,
                "continue_final_message is set, but the prompt does not contain the last message's text");
        }

        bool keepsWhiteSpace = string.CompareOrdinal(prompt, start, final.TrimStart(), 0, final.TrimStart().Length) == 0;
        return prompt[..(start + (keepsWhiteSpace ? final.TrimStart().Length : trimmed.Length))];
    }

    private static JsonElement? ParseOptional(string? json)
    {
        if (json is null)
            return null;
        try
        {
            using var document = JsonDocument.Parse(json);
            return document.RootElement.ValueKind == JsonValueKind.Null ? null : document.RootElement.Clone();
        }
        catch (JsonException exception)
        {
            throw new ChatTemplateException(
                ChatTemplateFailure.Evaluation, "the conversation is not valid JSON: " + exception.Message, exception);
        }
    }
}
