using System.Collections.Immutable;
using System.Globalization;
using System.Numerics;
using Cluster.Contracts;

namespace Cluster.Grains.Sessions;

/// <summary>Every limit on a request (architecture section 8), checked before any work. The first violation is reported.</summary>
internal static class RequestRules
{
    public const int MaxChoices = 128;
    public const int MaxStopStrings = Text.StopStringMatcher.MaxStopStrings;
    public const int MaxStopStringLength = Text.StopStringMatcher.MaxLength;
    public const int MaxCompletionLogprobs = 5;
    public const int MaxChatLogprobs = 20;

    // No vocabulary we know has a longer token; a text that is longer than this times the context cannot fit.
    private const long MaxCharactersPerToken = 512;

    /// <summary>Refuses a request that breaks a limit.</summary>
    /// <param name="request">As it came.</param>
    /// <param name="model">The model it names.</param>
    /// <param name="maxSequences">Most choices of all prompts together.</param>
    /// <exception cref="RequestRejectedException">Names field, limit and actual value.</exception>
    public static void Check(GenerationRequest request, ServedModel model, int maxSequences)
    {
        CheckSampling(request.Sampling, model.VocabularySize);
        CheckCounts(request);
        CheckStop(request.Stop, model);
        if (request.Kind == RequestKind.Chat)
            CheckChat(request, model);
        else
            CheckPrompts(request, model);
        int sequences = Math.Max(1, request.Prompts.Length) * request.Choices;
        if (sequences > maxSequences)
            throw Refuse(request.Prompts.Length > 1 ? "prompt" : "n", $"prompts times n must be at most {maxSequences}, was {sequences}");
    }

    /// <summary>Refuses a tokenized prompt that the model cannot hold, and returns the tokens it may generate.</summary>
    /// <param name="promptLength">Tokens of the prompt.</param>
    /// <param name="stop">Limits as requested.</param>
    /// <param name="kind">Chats get the rest of the context by default, completions 16 tokens.</param>
    /// <param name="model">The model.</param>
    public static int MaxTokens(int promptLength, StopOptions stop, RequestKind kind, ServedModel model)
    {
        string field = kind == RequestKind.Chat ? "messages" : "prompt";
        int context = model.Description.MaxModelLength;
        if (promptLength == 0)
            throw Refuse(field, $"{field} must hold at least 1 token, held 0");
        if (promptLength >= context)
            throw TooLong(field, $"{field} must leave room for a token in the model's context of {context} tokens, has {promptLength} tokens");
        int room = context - promptLength;
        if (stop.MaxTokens > room)
            throw TooLong("max_tokens", $"max_tokens must be at most {room} (context of {context} tokens less {promptLength} of the prompt), was {stop.MaxTokens}");
        int tokens = stop.MaxTokens ?? (kind == RequestKind.Chat ? room : Math.Min(16, room));
        if (stop.MinTokens > tokens)
            throw Refuse("min_tokens", $"min_tokens must be at most max_tokens ({tokens}), was {stop.MinTokens}");
        return tokens;
    }

    /// <summary>A refusal for a wrong field.</summary>
    public static RequestRejectedException Refuse(string field, string problem) =>
        new(RejectionReason.InvalidRequest, problem + ".", field);

    private static RequestRejectedException TooLong(string field, string problem) =>
        new(RejectionReason.ContextLengthExceeded, problem + ".", field);

    private static void CheckSampling(SamplingOptions sampling, int vocabulary)
    {
        Between("temperature", sampling.Temperature, 0f, 2f);
        if (sampling.TopP is { } topP && !(topP > 0 && topP <= 1))
            throw Refuse("top_p", $"top_p must be above 0 and at most 1, was {Spell(topP)}");
        if (sampling.TopK < -1)
            throw Refuse("top_k", $"top_k must be at least -1 (-1 and 0 keep all), was {sampling.TopK}");
        Between("min_p", sampling.MinP, 0f, 1f);
        if (sampling.RepetitionPenalty is { } penalty && !(penalty > 0 && penalty <= 2))
            throw Refuse("repetition_penalty", $"repetition_penalty must be above 0 and at most 2, was {Spell(penalty)}");
        Between<float>("frequency_penalty", sampling.FrequencyPenalty, -2, 2);
        Between<float>("presence_penalty", sampling.PresencePenalty, -2, 2);
        foreach ((int token, float bias) in sampling.LogitBias)
        {
            if ((uint)token >= (uint)vocabulary)
                throw Refuse("logit_bias", $"logit_bias must name token ids from 0 to {vocabulary - 1}, named {token}");
            Between<float>("logit_bias", bias, -100, 100);
        }
    }

    private static void CheckCounts(GenerationRequest request)
    {
        if (!Enum.IsDefined(request.Kind))
            throw Refuse("kind", $"kind must be Completion or Chat, was {(int)request.Kind}");
        Between<int>("n", request.Choices, 1, MaxChoices);
        if (request.Kind == RequestKind.Chat)
            Between("top_logprobs", request.Logprobs, 0, MaxChatLogprobs);
        else
            Between("logprobs", request.Logprobs, 0, MaxCompletionLogprobs);
        Between("prompt_logprobs", request.PromptLogprobs, 0, MaxCompletionLogprobs);
    }

    private static void CheckStop(StopOptions stop, ServedModel model)
    {
        if (stop.MaxTokens < 1)
            throw Refuse("max_tokens", $"max_tokens must be at least 1, was {stop.MaxTokens}");
        if (stop.MinTokens < 0)
            throw Refuse("min_tokens", $"min_tokens must be at least 0, was {stop.MinTokens}");
        if (stop.Strings.Length > MaxStopStrings)
            throw Refuse("stop", $"stop must have at most {MaxStopStrings} strings, had {stop.Strings.Length}");
        foreach (string text in stop.Strings)
        {
            if (string.IsNullOrEmpty(text) || text.Length > MaxStopStringLength)
                throw Refuse("stop", $"stop strings must have 1 to {MaxStopStringLength} characters, one had {text?.Length ?? 0}");
        }

        if (stop.Strings.Length > 0 && model.Tokenizer is null)
            throw Refuse("stop", $"stop strings need a tokenizer, which the model '{model.Description.Name}' does not have; use stop_token_ids");
        CheckTokens("stop_token_ids", stop.TokenIds, model.VocabularySize);
    }

    private static void CheckPrompts(GenerationRequest request, ServedModel model)
    {
        if (request.Prompts.Length == 0)
            throw Refuse("prompt", "prompt must hold at least 1 prompt, held 0");
        if (request.Messages.Length > 0)
            throw Refuse("messages", $"messages must be empty for a completion, had {request.Messages.Length}");
        foreach (Prompt prompt in request.Prompts)
        {
            if (prompt.Text is null)
            {
                if (prompt.TokenIds.Length == 0)
                    throw Refuse("prompt", "prompt must hold at least 1 token, held 0");
                CheckTokens("prompt", prompt.TokenIds, model.VocabularySize);
                continue;
            }

            if (model.Tokenizer is null)
                throw Refuse("prompt", $"prompt must be token ids: the model '{model.Description.Name}' has no tokenizer for its text of {prompt.Text.Length} characters");
            if (prompt.Text.Length == 0)
                throw Refuse("prompt", "prompt must hold at least 1 character, held 0");
            CheckLength("prompt", prompt.Text.Length, model);
        }
    }

    private static void CheckChat(GenerationRequest request, ServedModel model)
    {
        if (request.Prompts.Length > 0)
            throw Refuse("prompt", $"prompt must be empty for a chat, had {request.Prompts.Length} prompts");
        if (request.Messages.Length == 0)
            throw Refuse("messages", "messages must hold at least 1 message, held 0");
        if (model.Tokenizer is null)
            throw Refuse("messages", $"messages need a tokenizer, which the model '{model.Description.Name}' does not have");
        if (model.ChatTemplate is null)
            throw Refuse("messages", $"messages need a chat template, which the model '{model.Description.Name}' does not have; use /v1/completions");
        long characters = request.Messages.Sum(message => (long)Math.Max(message.Content?.Length ?? 0, message.Json?.Length ?? 0));
        CheckLength("messages", characters, model);
    }

    private static void CheckTokens(string field, ImmutableArray<int> tokens, int vocabulary)
    {
        foreach (int token in tokens)
        {
            if ((uint)token >= (uint)vocabulary)
                throw Refuse(field, $"{field} must hold token ids from 0 to {vocabulary - 1}, held {token}");
        }
    }

    private static void CheckLength(string field, long characters, ServedModel model)
    {
        long most = model.Description.MaxModelLength * MaxCharactersPerToken;
        if (characters > most)
            throw TooLong(field, $"{field} must fit the model's context of {model.Description.MaxModelLength} tokens (at most {most} characters), has {characters} characters");
    }

    // Written so that NaN fails.
    private static void Between<T>(string field, T? value, T low, T high)
        where T : struct, INumber<T>
    {
        if (value is { } actual && !(actual >= low && actual <= high))
            throw Refuse(field, $"{field} must be between {Spell(low)} and {Spell(high)}, was {Spell(actual)}");
    }

    private static string Spell<T>(T value)
        where T : INumber<T> => value.ToString(null, CultureInfo.InvariantCulture);
}
