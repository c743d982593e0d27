using System.Collections.Immutable;
using System.Text.Json;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Sessions;
using Cluster.Grains.Text;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>POST /tokenize and /detokenize, in vLLM's shapes.</summary>
internal sealed class TokenizerEndpoints(ModelCatalog models, ServingGate serving, GatewaySettings settings, TimeProvider time)
{
    /// <summary>Registers the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/tokenize", Tokenize);
        routes.MapPost("/detokenize", Detokenize);
    }

    private async Task Tokenize(HttpContext context)
    {
        using JsonDocument document = await Read(context);
        var fields = new FieldReader(document.RootElement);
        (ServedModel model, Tokenizer tokenizer) = Model(fields);
        bool withStrings = fields.Boolean("return_token_strs") ?? false;
        IReadOnlyList<int> tokens = fields.Take("prompt") is { } prompt
            ? EncodePrompt(tokenizer, FieldReader.TextOf(prompt, "prompt"), fields)
            : EncodeChat(model, fields);
        await JsonText.Respond(context, StatusCodes.Status200OK, json =>
        {
            json.WriteStartObject();
            json.WriteNumber("count"u8, tokens.Count);
            json.WriteNumber("max_model_len"u8, model.Description.MaxModelLength);
            json.WriteStartArray("tokens"u8);
            foreach (int token in tokens)
                json.WriteNumberValue(token);
            json.WriteEndArray();
            WriteStrings(json, tokenizer, withStrings ? tokens : null);
            json.WriteEndObject();
        });
    }

    private async Task Detokenize(HttpContext context)
    {
        using JsonDocument document = await Read(context);
        var fields = new FieldReader(document.RootElement);
        (ServedModel model, Tokenizer tokenizer) = Model(fields);
        if (fields.Take("tokens") is not { } value)
            throw FieldReader.Refuse("tokens", "The field 'tokens' is missing; it must be an array of token ids.");
        ImmutableArray<int> tokens = FieldReader.IntegersOf(value, "tokens");
        foreach (int token in tokens)
        {
            if ((uint)token >= (uint)model.VocabularySize)
                throw FieldReader.Refuse("tokens", $"The field 'tokens' must hold ids from 0 to {model.VocabularySize - 1}, got {token}.");
        }
        // vLLM keeps special tokens here: what was tokenized comes back.
        string text = tokenizer.Decode(tokens.AsSpan(), skipSpecialTokens: false);
        await JsonText.Respond(context, StatusCodes.Status200OK, json =>
        {
            json.WriteStartObject();
            json.WriteString("prompt"u8, text);
            json.WriteEndObject();
        });
    }

    private static int[] EncodePrompt(Tokenizer tokenizer, string prompt, FieldReader fields)
    {
        try
        {
            return tokenizer.Encode(prompt, fields.Boolean("add_special_tokens") ?? true);
        }
        catch (TokenizerFormatException exception)
        {
            throw FieldReader.Refuse("prompt", $"The field 'prompt' cannot be tokenized: {exception.Message}");
        }
    }

    private static ImmutableArray<int> EncodeChat(ServedModel model, FieldReader fields)
    {
        ImmutableArray<ChatMessage> messages = ChatReader.Messages(fields);
        ChatTemplateInput template = ChatReader.Template(fields);
        if (model.ChatTemplate is null)
            throw FieldReader.Refuse("messages", $"The model '{model.Description.Name}' has no chat template; send 'prompt' instead.");
        return PromptEncoder.EncodeChat(
            new GenerationRequest { Model = model.Description.Name, Kind = RequestKind.Chat, Messages = messages, Template = template }, model).TokenIds;
    }

    private static void WriteStrings(Utf8JsonWriter json, Tokenizer tokenizer, IReadOnlyList<int>? tokens)
    {
        if (tokens is null)
        {
            json.WriteNull("token_strs"u8);
            return;
        }
        json.WriteStartArray("token_strs"u8);
        foreach (int token in tokens)
            json.WriteStringValue(tokenizer.TokenText(token));
        json.WriteEndArray();
    }

    private async Task<JsonDocument> Read(HttpContext context)
    {
        ReadOnlyMemory<byte> body = await BodyReader.Read(context, settings.MaxBodyBytes, time);
        await serving.Wait(settings.ModelWait, time, context.RequestAborted);
        return JsonBody.Parse(body);
    }

    private (ServedModel Model, Tokenizer Tokenizer) Model(FieldReader fields)
    {
        ServedModel model = models.Get(ModelField.Read(fields, DefaultModel.Of(models)));
        return (model, model.Tokenizer
            ?? throw FieldReader.Refuse("model", $"The model '{model.Description.Name}' has no tokenizer: it takes and gives token ids."));
    }
}
