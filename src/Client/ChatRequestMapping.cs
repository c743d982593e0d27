using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Nodes;
using Cluster.Contracts;
using Microsoft.Extensions.AI;
using AiMessage = Microsoft.Extensions.AI.ChatMessage;
using WireMessage = Cluster.Contracts.ChatMessage;

namespace Cluster.Client;

/// <summary>Maps messages and options of Microsoft.Extensions.AI to a request. What cannot be said is refused, never dropped.</summary>
internal static class ChatRequestMapping
{
    /// <summary>The request for a chat.</summary>
    public static GenerationRequest Map(IEnumerable<AiMessage> messages, ChatOptions? options, string? defaultModel, IChatClient client)
    {
        ArgumentNullException.ThrowIfNull(messages);
        options ??= new ChatOptions();
        if (options.ResponseFormat is ChatResponseFormatJson)
            throw Refused("response_format", "Structured output is not supported yet; ask for text.");
        if (options.ConversationId is not null)
            throw Refused("conversation_id", "Conversations are not kept by the cluster; send the whole history.");
        GenerationRequest start = options.RawRepresentationFactory?.Invoke(client) as GenerationRequest ?? new GenerationRequest { Model = "" };
        ImmutableArray<WireMessage> mapped = [.. messages.SelectMany(MapMessage)];
        if (!string.IsNullOrEmpty(options.Instructions))
            mapped = mapped.Insert(0, new WireMessage { Role = "system", Content = options.Instructions });
        AdditionalProperties extra = new(options.AdditionalProperties);
        return start with
        {
            Kind = RequestKind.Chat,
            Model = options.ModelId ?? (start.Model.Length > 0 ? start.Model : defaultModel ?? ""),
            Messages = mapped,
            Sampling = MapSampling(options, extra, start.Sampling),
            Stop = MapStop(options, extra, start.Stop),
            Template = start.Template with { ToolsJson = MapTools(options) ?? start.Template.ToolsJson, ArgumentsJson = extra.Json("chat_template_kwargs") ?? start.Template.ArgumentsJson },
            Priority = extra.Int("priority") ?? start.Priority,
            Logprobs = extra.Bool("logprobs") is true ? extra.Int("top_logprobs") ?? 0 : extra.Int("top_logprobs") ?? start.Logprobs,
            Presentation = start.Presentation with { SkipSpecialTokens = extra.Bool("skip_special_tokens") ?? start.Presentation.SkipSpecialTokens },
        };
    }

    private static SamplingOptions MapSampling(ChatOptions options, AdditionalProperties extra, SamplingOptions start) => start with
    {
        Temperature = options.Temperature ?? start.Temperature,
        TopP = options.TopP ?? start.TopP,
        TopK = options.TopK ?? start.TopK,
        MinP = extra.Float("min_p") ?? start.MinP,
        RepetitionPenalty = extra.Float("repetition_penalty") ?? start.RepetitionPenalty,
        FrequencyPenalty = options.FrequencyPenalty ?? start.FrequencyPenalty,
        PresencePenalty = options.PresencePenalty ?? start.PresencePenalty,
        LogitBias = extra.Biases("logit_bias") ?? start.LogitBias,
        Seed = options.Seed ?? start.Seed,
    };

    private static StopOptions MapStop(ChatOptions options, AdditionalProperties extra, StopOptions start) => start with
    {
        MaxTokens = options.MaxOutputTokens ?? start.MaxTokens,
        MinTokens = extra.Int("min_tokens") ?? start.MinTokens,
        Strings = options.StopSequences is { Count: > 0 } strings ? [.. strings] : start.Strings,
        TokenIds = extra.Ints("stop_token_ids") ?? start.TokenIds,
        IgnoreEos = extra.Bool("ignore_eos") ?? start.IgnoreEos,
        IncludeStopString = extra.Bool("include_stop_str_in_output") ?? start.IncludeStopString,
    };

    /// <summary>One message; several for tool results, which the wire wants one by one.</summary>
    private static IEnumerable<WireMessage> MapMessage(AiMessage message)
    {
        foreach (AIContent content in message.Contents)
        {
            if (content is not (TextContent or TextReasoningContent or FunctionCallContent or FunctionResultContent or UsageContent))
                throw Refused("messages", $"Content of type {content.GetType().Name} is not supported; the models here read text.");
        }
        FunctionResultContent[] results = [.. message.Contents.OfType<FunctionResultContent>()];
        foreach (FunctionResultContent result in results)
        {
            string text = result.Result as string ?? (result.Result as JsonElement?)?.ToString() ?? JsonSerializer.Serialize(result.Result, AIJsonUtilities.DefaultOptions);
            yield return new WireMessage { Role = "tool", Content = text, Json = new JsonObject { ["role"] = "tool", ["tool_call_id"] = result.CallId, ["content"] = text }.ToJsonString() };
        }
        if (results.Length > 0 && results.Length == message.Contents.Count)
            yield break;
        FunctionCallContent[] calls = [.. message.Contents.OfType<FunctionCallContent>()];
        yield return new WireMessage { Role = message.Role.Value, Content = message.Text, Json = calls.Length == 0 ? null : CallsJson(message, calls) };
    }

    private static string CallsJson(AiMessage message, FunctionCallContent[] calls) => new JsonObject
    {
        ["role"] = message.Role.Value,
        ["content"] = message.Text,
        ["tool_calls"] = new JsonArray([.. calls.Select(call => (JsonNode)new JsonObject
        {
            ["id"] = call.CallId,
            ["type"] = "function",
            ["function"] = new JsonObject { ["name"] = call.Name, ["arguments"] = JsonSerializer.Serialize(call.Arguments, AIJsonUtilities.DefaultOptions) },
        })]),
    }.ToJsonString();

    /// <summary>Tools are shown to the model through its chat template; its calls come back as text.</summary>
    private static string? MapTools(ChatOptions options)
    {
        AIFunctionDeclaration[] functions = [.. options.Tools?.OfType<AIFunctionDeclaration>() ?? []];
        if (functions.Length == 0 || options.ToolMode is NoneChatToolMode)
            return null;
        return new JsonArray([.. functions.Select(function => (JsonNode)new JsonObject
        {
            ["type"] = "function",
            ["function"] = new JsonObject { ["name"] = function.Name, ["description"] = function.Description, ["parameters"] = JsonNode.Parse(function.JsonSchema.GetRawText()) },
        })]).ToJsonString();
    }

    private static RequestRejectedException Refused(string parameter, string message) => new(RejectionReason.InvalidRequest, message, parameter);

    /// <summary>Reads loosely typed properties: numbers of any kind, JSON elements, their text.</summary>
    private readonly struct AdditionalProperties(AdditionalPropertiesDictionary? values)
    {
        public int? Int(string name) => Read(name, element => element.GetInt32());

        public float? Float(string name) => Read(name, element => element.GetSingle());

        public bool? Bool(string name) => Read(name, element => element.GetBoolean());

        public string? Json(string name) => Element(name)?.GetRawText();

        public ImmutableArray<int>? Ints(string name) => Read<ImmutableArray<int>>(name, element => [.. element.EnumerateArray().Select(id => id.GetInt32())]);

        public ImmutableDictionary<int, float>? Biases(string name) => Element(name) is { ValueKind: JsonValueKind.Object } element
            ? element.EnumerateObject().ToImmutableDictionary(entry => int.Parse(entry.Name, System.Globalization.CultureInfo.InvariantCulture), entry => entry.Value.GetSingle())
            : null;

        private T? Read<T>(string name, Func<JsonElement, T> read) where T : struct
        {
            if (Element(name) is not { } element)
                return null;
            try
            {
                return read(element);
            }
            catch (Exception exception) when (exception is InvalidOperationException or FormatException)
            {
                throw Refused(name, $"Additional property {name} must be a {typeof(T).Name}; it is {element.GetRawText()}.");
            }
        }

        private JsonElement? Element(string name)
        {
            if (values is null || !values.TryGetValue(name, out object? value) || value is null)
                return null;
            return value is JsonElement element ? element : JsonSerializer.SerializeToElement(value, value.GetType(), AIJsonUtilities.DefaultOptions);
        }
    }
}
