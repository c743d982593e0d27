using System.Collections.Immutable;
using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>Reads the body of POST /v1/completions.</summary>
internal static class CompletionReader
{
    // Accepted without effect: what they ask for is the case anyway, or has no meaning here.
    private static readonly string[] WithoutEffect = ["user", "stream_id", "service_tier"];

    /// <summary>Reads the body; <paramref name="defaultModel"/> answers when no model is named.</summary>
    public static GenerationCall Read(JsonElement body, string? defaultModel)
    {
        var fields = new FieldReader(body);
        foreach (string name in WithoutEffect)
            fields.Take(name);
        bool stream = fields.Boolean("stream") ?? false;
        bool echo = fields.Boolean("echo") ?? false;
        int? logprobs = fields.Integer("logprobs");
        GenerationRequest request = CommonFields.Read(fields, new GenerationRequest
        {
            Model = ModelField.Read(fields, defaultModel),
            Kind = RequestKind.Completion,
            Prompts = Prompts(fields),
            Stop = CommonFields.Stop(fields, fields.Integer("max_tokens")),
            Logprobs = logprobs,
            PromptLogprobs = echo ? logprobs : null,
            Presentation = CommonFields.Presentation(fields, stream) with { Echo = echo },
        });
        RefuseUnsupported(fields, request.Choices);
        return new GenerationCall(request, stream, fields.Unknown);
    }

    private static void RefuseUnsupported(FieldReader fields, int choices)
    {
        if (fields.Text("suffix") is { Length: > 0 })
            throw FieldReader.Refuse("suffix", "The field 'suffix' is not supported.");
        if (fields.Integer("best_of") is { } bestOf && bestOf != choices)
            throw FieldReader.Refuse("best_of", $"The field 'best_of' must equal 'n' ({choices}), got {bestOf}: choosing among more is not supported.");
    }

    private static ImmutableArray<Prompt> Prompts(FieldReader fields)
    {
        const string Expected = "a string, an array of strings, an array of token ids or an array of such arrays";
        if (fields.Take("prompt") is not { } value)
            throw FieldReader.Refuse("prompt", $"The field 'prompt' is missing; it must be {Expected}.");
        if (value.ValueKind == JsonValueKind.String)
            return [Text(value, "prompt")];
        if (value.ValueKind != JsonValueKind.Array)
            throw FieldReader.Wrong("prompt", Expected, value);
        if (value.GetArrayLength() == 0)
            throw FieldReader.Refuse("prompt", "The field 'prompt' is empty; at least one token is needed, got 0.");
        if (value[0].ValueKind == JsonValueKind.Number)
            return [new Prompt { TokenIds = FieldReader.IntegersOf(value, "prompt") }];
        return [.. value.EnumerateArray().Select((element, i) => One(element, $"prompt[{i}]"))];
    }

    private static Prompt Text(JsonElement element, string path) => element.GetString() is { Length: > 0 } text
        ? Prompt.FromText(text)
        : throw FieldReader.Refuse(path, $"The field '{path}' is empty; at least one character is needed, got 0.");

    private static Prompt One(JsonElement element, string path) => element.ValueKind switch
    {
        JsonValueKind.String => Text(element, path),
        JsonValueKind.Array => new Prompt { TokenIds = FieldReader.IntegersOf(element, path) },
        _ => throw FieldReader.Wrong(path, "a string or an array of token ids", element),
    };
}

/// <summary>The field <c>model</c>, which vLLM lets clients leave out.</summary>
internal static class ModelField
{
    private const int LongestName = 1024;

    /// <summary>The named model, or the only one there is.</summary>
    public static string Read(FieldReader fields, string? defaultModel)
    {
        string name = fields.Text("model") ?? defaultModel
            ?? throw FieldReader.Refuse("model", "The field 'model' is missing; it must be the name of a served model (GET /v1/models lists them).");
        return name.Length <= LongestName
            ? name
            : throw FieldReader.Refuse("model", $"The field 'model' may have at most {LongestName} characters, got {name.Length}.");
    }
}
