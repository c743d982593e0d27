using System.Text.Json;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// Reads tokenizer.json. The vocabulary and the merges, which are nearly the whole file, are read straight from the
/// bytes into flat tables; the small rest goes through <see cref="JsonField"/>.
/// </summary>
internal static class TokenizerJsonReader
{
    private const string FileName = TokenizerFiles.TokenizerJsonName;

    public static TokenizerDefinition Read(byte[] utf8, TokenizerSettings settings)
    {
        try
        {
            var sections = new Dictionary<string, JsonField>();
            ModelSection model = ReadSections(WithoutByteOrderMark(utf8), sections);
            return Build(sections, model, settings);
        }
        catch (JsonException exception)
        {
            throw new TokenizerFormatException(FileName, "$", exception.Message, "is not valid JSON", exception);
        }
        catch (InvalidOperationException exception)
        {
            throw new TokenizerFormatException(FileName, "$", exception.Message, "has text that is not valid", exception);
        }
    }

    private static ReadOnlySpan<byte> WithoutByteOrderMark(byte[] utf8)
    {
        ReadOnlySpan<byte> mark = [0xEF, 0xBB, 0xBF];
        return utf8.AsSpan().StartsWith(mark) ? utf8.AsSpan(mark.Length) : utf8;
    }

    private static ModelSection ReadSections(ReadOnlySpan<byte> utf8, Dictionary<string, JsonField> sections)
    {
        var reader = new Utf8JsonReader(utf8);
        ModelSection? model = null;
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new TokenizerFormatException(FileName, "$", reader.TokenType.ToString(), "must be an object");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (name == "model")
                model = ModelSection.Read(ref reader);
            else
                sections[name] = new JsonField(FileName, name, JsonElement.ParseValue(ref reader));
        }

        // Reads on to the end, so that text after the object is refused.
        while (reader.Read())
        {
        }

        return model ?? throw new TokenizerFormatException(FileName, "model", "nothing", "is missing");
    }

    private static TokenizerDefinition Build(
        Dictionary<string, JsonField> sections, ModelSection model, TokenizerSettings settings)
    {
        JsonField? Section(string name) =>
            sections.TryGetValue(name, out JsonField field) && field.Element.ValueKind != JsonValueKind.Null ? field : null;

        (List<IPretokenizer> steps, bool byteLevel) = PretokenizerReader.Read(Section("pre_tokenizer"));
        JsonField decoder = Section("decoder")
            ?? throw new TokenizerFormatException(FileName, "decoder", "nothing", "is missing");
        return new TokenizerDefinition
        {
            File = FileName,
            Vocabulary = model.Vocabulary,
            Merges = model.Merges,
            Options = model.ReadOptions(byteLevel),
            AddedTokens = ReadAddedTokens(Section("added_tokens"), settings),
            Normalization = Normalization.Read(Section("normalizer")),
            Pretokenizers = steps,
            Decoder = DecoderShape.Read(decoder),
            Frame = PostProcessorReader.Read(Section("post_processor")),
        };
    }

    private static List<AddedToken> ReadAddedTokens(JsonField? field, TokenizerSettings settings)
    {
        var tokens = new List<AddedToken>();
        foreach (JsonField entry in field?.Items() ?? [])
            tokens.Add(AddedToken.Read(entry, entry.Required("id").AsInt(0, TokenizerLimits.MaxTokenId)));
        var known = tokens.Select(token => token.Content).ToHashSet();
        tokens.AddRange(settings.AddedTokens.Where(token => known.Add(token.Content)));
        return tokens;
    }
}
