using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Fields that completions and chats share: sampling, ends, presentation.</summary>
internal static class CommonFields
{
    // Refused rather than ignored: an answer without them would look like a success.
    private static readonly string[] Unsupported =
        ["guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "use_beam_search"];

    /// <summary>Reads the shared fields into a request.</summary>
    public static GenerationRequest Read(FieldReader fields, GenerationRequest request)
    {
        foreach (string name in Unsupported)
        {
            if (fields.Take(name) is { } value && value.ValueKind != JsonValueKind.False)
                throw FieldReader.Refuse(name, $"The field '{name}' is not supported.");
        }
        CheckResponseFormat(fields);
        return request with
        {
            Sampling = Sampling(fields),
            Choices = fields.Integer("n") ?? 1,
            Priority = fields.Integer("priority") ?? 0,
            Background = fields.Boolean("background") ?? false,
        };
    }

    /// <summary>Reads when a choice ends.</summary>
    public static StopOptions Stop(FieldReader fields, int? maxTokens) => new()
    {
        MaxTokens = maxTokens,
        MinTokens = fields.Integer("min_tokens") ?? 0,
        Strings = StopStrings(fields),
        TokenIds = fields.Integers("stop_token_ids"),
        IgnoreEos = fields.Boolean("ignore_eos") ?? false,
        IncludeStopString = fields.Boolean("include_stop_str_in_output") ?? false,
    };

    /// <summary>Reads how the answer is presented.</summary>
    public static PresentationOptions Presentation(FieldReader fields, bool stream)
    {
        FieldReader? options = fields.Object("stream_options");
        if (options is not null && !stream)
            throw FieldReader.Refuse("stream_options", "The field 'stream_options' is only allowed with 'stream' true.");
        bool continuous = options?.Boolean("continuous_usage_stats") ?? false;
        return new PresentationOptions
        {
            IncludeUsage = options?.Boolean("include_usage") ?? false,
            ContinuousUsage = continuous,
            ReturnTokenIds = fields.Boolean("return_token_ids") ?? false,
            TokensAsTokenIds = fields.Boolean("return_tokens_as_token_ids") ?? false,
            SkipSpecialTokens = fields.Boolean("skip_special_tokens") ?? true,
        };
    }

    private static SamplingOptions Sampling(FieldReader fields) => new()
    {
        Temperature = fields.Number("temperature"),
        TopK = fields.Integer("top_k"),
        TopP = fields.Number("top_p"),
        MinP = fields.Number("min_p"),
        RepetitionPenalty = fields.Number("repetition_penalty"),
        FrequencyPenalty = fields.Number("frequency_penalty") ?? 0,
        PresencePenalty = fields.Number("presence_penalty") ?? 0,
        LogitBias = LogitBias(fields),
        Seed = fields.Long("seed"),
    };

    private static ImmutableDictionary<int, float> LogitBias(FieldReader fields)
    {
        if (fields.Take("logit_bias") is not { } value)
            return ImmutableDictionary<int, float>.Empty;
        if (value.ValueKind != JsonValueKind.Object)
            throw FieldReader.Wrong("logit_bias", "an object of token ids and numbers", value);
        var biases = ImmutableDictionary.CreateBuilder<int, float>();
        foreach (JsonProperty property in value.EnumerateObject())
        {
            if (!int.TryParse(property.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int token))
                throw FieldReader.Refuse("logit_bias", $"The field 'logit_bias' must have token ids as keys, got '{property.Name}'.");
            biases[token] = FieldReader.NumberOf(property.Value, $"logit_bias.{property.Name}");
        }
        return biases.ToImmutable();
    }

    private static ImmutableArray<string> StopStrings(FieldReader fields)
    {
        if (fields.Take("stop") is not { } value)
            return [];
        return value.ValueKind switch
        {
            JsonValueKind.String => [value.GetString()!],
            JsonValueKind.Array => [.. value.EnumerateArray().Select((element, i) => FieldReader.TextOf(element, $"stop[{i}]"))],
            _ => throw FieldReader.Wrong("stop", "a string or an array of strings", value),
        };
    }

    private static void CheckResponseFormat(FieldReader fields)
    {
        if (fields.Object("response_format") is { } format && format.Text("type") is { } type and not "text")
            throw FieldReader.Refuse("response_format", $"The field 'response_format.type' must be text, got '{type}': constrained output is not supported.");
    }
}
