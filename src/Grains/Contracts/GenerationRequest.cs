using System.Collections.Immutable;

namespace Cluster.Contracts;

/// <summary>What the user asks for: prompts or messages, limits, sampling. One session serves one request (all its prompts and choices).</summary>
[GenerateSerializer, Immutable, Alias("Cluster.GenerationRequest")]
public sealed record GenerationRequest
{
    /// <summary>Served model name.</summary>
    [Id(0)] public required string Model { get; init; }

    /// <summary>Completion of prompts, or the next message of a chat.</summary>
    [Id(1)] public RequestKind Kind { get; init; }

    /// <summary>Prompts of a completion; empty for a chat.</summary>
    [Id(2)] public ImmutableArray<Prompt> Prompts { get; init; } = [];

    /// <summary>Messages of a chat; empty for a completion.</summary>
    [Id(3)] public ImmutableArray<ChatMessage> Messages { get; init; } = [];

    /// <summary>Variables for the chat template.</summary>
    [Id(4)] public ChatTemplateInput Template { get; init; } = new();

    /// <summary>Sampling; null members take the model's generation_config.json, then the neutral value.</summary>
    [Id(5)] public SamplingOptions Sampling { get; init; } = new();

    /// <summary>When a choice ends.</summary>
    [Id(6)] public StopOptions Stop { get; init; } = new();

    /// <summary>Choices per prompt (n), 1..128.</summary>
    [Id(7)] public int Choices { get; init; } = 1;

    /// <summary>Alternatives to report per generated token; null = no log-probabilities.</summary>
    [Id(8)] public int? Logprobs { get; init; }

    /// <summary>Alternatives to report per prompt token (completions with echo and logprobs); null = none.</summary>
    [Id(9)] public int? PromptLogprobs { get; init; }

    /// <summary>Lower runs earlier (vLLM's convention); default 0.</summary>
    [Id(10)] public int Priority { get; init; }

    /// <summary>Keep generating while no client is attached.</summary>
    [Id(11)] public bool Background { get; init; }

    /// <summary>Whose session it is: an opaque key identity; only the same owner may attach. Empty when no keys are configured.</summary>
    [Id(12)] public string Owner { get; init; } = "";

    /// <summary>How the answer is presented; kept with the session so that a resume by id gives the same extras.</summary>
    [Id(13)] public PresentationOptions Presentation { get; init; } = new();
}

/// <summary>Kind of a request.</summary>
[GenerateSerializer, Alias("Cluster.RequestKind")]
public enum RequestKind
{
    /// <summary>/v1/completions.</summary>
    Completion = 0,

    /// <summary>/v1/chat/completions.</summary>
    Chat = 1,
}

/// <summary>A prompt: text, or token ids when <see cref="Text"/> is null.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.Prompt")]
public sealed record Prompt
{
    /// <summary>Text to tokenize, or null.</summary>
    [Id(0)] public string? Text { get; init; }

    /// <summary>Token ids, used as they are.</summary>
    [Id(1)] public ImmutableArray<int> TokenIds { get; init; } = [];

    /// <summary>A text prompt.</summary>
    public static Prompt FromText(string text) => new() { Text = text };

    /// <summary>A token prompt.</summary>
    public static Prompt FromTokens(params ReadOnlySpan<int> ids) => new() { TokenIds = [.. ids] };
}

/// <summary>A chat message. <see cref="Json"/>, if set, is the whole message object as the template will see it.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ChatMessage")]
public sealed record ChatMessage
{
    /// <summary>system, user, assistant or tool.</summary>
    [Id(0)] public required string Role { get; init; }

    /// <summary>Text content.</summary>
    [Id(1)] public string? Content { get; init; }

    /// <summary>The message as JSON (tool calls, names, ...); null when role and content say everything.</summary>
    [Id(2)] public string? Json { get; init; }
}

/// <summary>Further variables of the chat template.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ChatTemplateInput")]
public sealed record ChatTemplateInput
{
    /// <summary>Start the assistant's answer.</summary>
    [Id(0)] public bool AddGenerationPrompt { get; init; } = true;

    /// <summary>Continue the last message instead of starting a new one.</summary>
    [Id(1)] public bool ContinueFinalMessage { get; init; }

    /// <summary>Tools as a JSON array, or null.</summary>
    [Id(2)] public string? ToolsJson { get; init; }

    /// <summary>chat_template_kwargs as a JSON object, or null.</summary>
    [Id(3)] public string? ArgumentsJson { get; init; }
}

/// <summary>Sampling parameters as requested; null = the model's default.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.SamplingOptions")]
public sealed record SamplingOptions
{
    /// <summary>0..2; 0 = greedy.</summary>
    [Id(0)] public float? Temperature { get; init; }

    /// <summary>Keep the k most likely tokens; 0 or -1 = all.</summary>
    [Id(1)] public int? TopK { get; init; }

    /// <summary>(0, 1].</summary>
    [Id(2)] public float? TopP { get; init; }

    /// <summary>[0, 1].</summary>
    [Id(3)] public float? MinP { get; init; }

    /// <summary>(0, 2].</summary>
    [Id(4)] public float? RepetitionPenalty { get; init; }

    /// <summary>-2..2.</summary>
    [Id(5)] public float FrequencyPenalty { get; init; }

    /// <summary>-2..2.</summary>
    [Id(6)] public float PresencePenalty { get; init; }

    /// <summary>Token id to bias, -100..100.</summary>
    [Id(7)] public ImmutableDictionary<int, float> LogitBias { get; init; } = ImmutableDictionary<int, float>.Empty;

    /// <summary>Seed; null = drawn when the request is accepted.</summary>
    [Id(8)] public long? Seed { get; init; }
}

/// <summary>When a choice ends.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.StopOptions")]
public sealed record StopOptions
{
    /// <summary>Most tokens to generate; null = 16 for completions, what fits the model for chats.</summary>
    [Id(0)] public int? MaxTokens { get; init; }

    /// <summary>No end before this many tokens.</summary>
    [Id(1)] public int MinTokens { get; init; }

    /// <summary>Up to 16 strings.</summary>
    [Id(2)] public ImmutableArray<string> Strings { get; init; } = [];

    /// <summary>Token ids that end the choice.</summary>
    [Id(3)] public ImmutableArray<int> TokenIds { get; init; } = [];

    /// <summary>Go on after an end-of-sequence token.</summary>
    [Id(4)] public bool IgnoreEos { get; init; }

    /// <summary>Keep the stop string in the text.</summary>
    [Id(5)] public bool IncludeStopString { get; init; }
}

/// <summary>How the gateway presents the answer.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.PresentationOptions")]
public sealed record PresentationOptions
{
    /// <summary>Put the prompt before the completion.</summary>
    [Id(0)] public bool Echo { get; init; }

    /// <summary>Send a usage event at the end of a stream.</summary>
    [Id(1)] public bool IncludeUsage { get; init; }

    /// <summary>Add token_ids and prompt_token_ids.</summary>
    [Id(2)] public bool ReturnTokenIds { get; init; }

    /// <summary>Spell tokens token_id:N in log-probabilities.</summary>
    [Id(3)] public bool TokensAsTokenIds { get; init; }

    /// <summary>Leave special tokens out of the text. Default true.</summary>
    [Id(4)] public bool SkipSpecialTokens { get; init; } = true;

    /// <summary>Report usage so far with every event of a stream.</summary>
    [Id(5)] public bool ContinuousUsage { get; init; }
}
