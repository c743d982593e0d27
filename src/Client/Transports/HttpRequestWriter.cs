using System.Buffers;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Client.Transports;

/// <summary>Spells a request as OpenAI and vLLM do. Always a stream with usage and token ids: the answer is assembled here.</summary>
internal static class HttpRequestWriter
{
    /// <summary>The body of the POST as UTF-8 JSON.</summary>
    /// <exception cref="RequestRejectedException">The request cannot be said over HTTP.</exception>
    public static byte[] Write(GenerationRequest request)
    {
        if (request.PromptLogprobs is not null)
            throw new RequestRejectedException(RejectionReason.InvalidRequest, "Log-probabilities of the prompt need the Orleans transport; this client uses HTTP.", "prompt_logprobs");
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("model", request.Model);
            if (request.Kind == RequestKind.Chat)
                WriteChat(json, request);
            else
                WritePrompts(json, request);
            WriteSampling(json, request.Sampling);
            WriteStop(json, request);
            WriteRest(json, request);
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    private static void WritePrompts(Utf8JsonWriter json, GenerationRequest request)
    {
        if (request.Prompts.Select(prompt => prompt.Text is null).Distinct().Count() > 1)
            throw new RequestRejectedException(RejectionReason.InvalidRequest, "Prompts are all text or all token ids over HTTP; these are mixed.", "prompt");
        json.WritePropertyName("prompt");
        if (request.Prompts.Length == 1)
        {
            WritePrompt(json, request.Prompts[0]);
        }
        else
        {
            json.WriteStartArray();
            foreach (Prompt prompt in request.Prompts)
                WritePrompt(json, prompt);
            json.WriteEndArray();
        }
        if (request.Logprobs is { } logprobs)
            json.WriteNumber("logprobs", logprobs);
    }

    private static void WritePrompt(Utf8JsonWriter json, Prompt prompt)
    {
        if (prompt.Text is not null)
        {
            json.WriteStringValue(prompt.Text);
            return;
        }
        json.WriteStartArray();
        foreach (int id in prompt.TokenIds)
            json.WriteNumberValue(id);
        json.WriteEndArray();
    }

    private static void WriteChat(Utf8JsonWriter json, GenerationRequest request)
    {
        json.WriteStartArray("messages");
        foreach (ChatMessage message in request.Messages)
        {
            if (message.Json is not null)
            {
                json.WriteRawValue(message.Json);
                continue;
            }
            json.WriteStartObject();
            json.WriteString("role", message.Role);
            json.WriteString("content", message.Content);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        if (!request.Template.AddGenerationPrompt)
            json.WriteBoolean("add_generation_prompt", false);
        if (request.Template.ContinueFinalMessage)
            json.WriteBoolean("continue_final_message", true);
        WriteRaw(json, "tools", request.Template.ToolsJson);
        WriteRaw(json, "chat_template_kwargs", request.Template.ArgumentsJson);
        if (request.Logprobs is { } logprobs)
        {
            json.WriteBoolean("logprobs", true);
            json.WriteNumber("top_logprobs", logprobs);
        }
    }

    /// <summary>Writes the members that say how tokens are drawn.</summary>
    public static void WriteSampling(Utf8JsonWriter json, SamplingOptions sampling)
    {
        WriteNumber(json, "temperature", sampling.Temperature);
        WriteNumber(json, "top_p", sampling.TopP);
        WriteNumber(json, "min_p", sampling.MinP);
        WriteNumber(json, "repetition_penalty", sampling.RepetitionPenalty);
        WriteNumber(json, "frequency_penalty", sampling.FrequencyPenalty == 0 ? null : sampling.FrequencyPenalty);
        WriteNumber(json, "presence_penalty", sampling.PresencePenalty == 0 ? null : sampling.PresencePenalty);
        if (sampling.TopK is { } topK)
            json.WriteNumber("top_k", topK);
        if (sampling.Seed is { } seed)
            json.WriteNumber("seed", seed);
        if (sampling.LogitBias.Count == 0)
            return;
        json.WriteStartObject("logit_bias");
        foreach ((int token, float bias) in sampling.LogitBias)
            WriteNumber(json, token.ToString(System.Globalization.CultureInfo.InvariantCulture), bias);
        json.WriteEndObject();
    }

    private static void WriteStop(Utf8JsonWriter json, GenerationRequest request)
    {
        StopOptions stop = request.Stop;
        if (stop.MaxTokens is { } maxTokens)
            json.WriteNumber(request.Kind == RequestKind.Chat ? "max_completion_tokens" : "max_tokens", maxTokens);
        if (stop.MinTokens != 0)
            json.WriteNumber("min_tokens", stop.MinTokens);
        if (stop.Strings.Length > 0)
        {
            json.WriteStartArray("stop");
            foreach (string text in stop.Strings)
                json.WriteStringValue(text);
            json.WriteEndArray();
        }
        if (stop.TokenIds.Length > 0)
        {
            json.WriteStartArray("stop_token_ids");
            foreach (int id in stop.TokenIds)
                json.WriteNumberValue(id);
            json.WriteEndArray();
        }
        if (stop.IgnoreEos)
            json.WriteBoolean("ignore_eos", true);
        if (stop.IncludeStopString)
            json.WriteBoolean("include_stop_str_in_output", true);
    }

    private static void WriteRest(Utf8JsonWriter json, GenerationRequest request)
    {
        if (request.Choices != 1)
            json.WriteNumber("n", request.Choices);
        if (request.Priority != 0)
            json.WriteNumber("priority", request.Priority);
        if (request.Background)
            json.WriteBoolean("background", true);
        if (!request.Presentation.SkipSpecialTokens)
            json.WriteBoolean("skip_special_tokens", false);
        if (request.Presentation.TokensAsTokenIds)
            json.WriteBoolean("return_tokens_as_token_ids", true);
        json.WriteBoolean("return_token_ids", true);
        json.WriteBoolean("stream", true);
        json.WriteStartObject("stream_options");
        json.WriteBoolean("include_usage", true);
        json.WriteEndObject();
    }

    private static void WriteNumber(Utf8JsonWriter json, string name, float? value)
    {
        if (value is null)
            return;
        if (!float.IsFinite(value.Value))
            throw new RequestRejectedException(RejectionReason.InvalidRequest, $"{name} must be a finite number; it is {value.Value}.", name);
        json.WriteNumber(name, value.Value);
    }

    private static void WriteRaw(Utf8JsonWriter json, string name, string? value)
    {
        if (value is null)
            return;
        json.WritePropertyName(name);
        json.WriteRawValue(value);
    }
}
