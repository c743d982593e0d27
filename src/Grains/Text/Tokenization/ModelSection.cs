using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>The <c>model</c> section of tokenizer.json: a byte pair encoding's vocabulary, merges and flags.</summary>
internal sealed class ModelSection
{
    private const string FileName = TokenizerFiles.TokenizerJsonName;
    private const int VocabularyRank = -1;

    private readonly Dictionary<string, JsonField> _fields = [];

    public TokenTable Vocabulary { get; private set; } = null!;

    public MergeTable Merges { get; private set; } = null!;

    /// <summary>Reads the object the reader stands at.</summary>
    public static ModelSection Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Wrong("model", ref reader, "must be an object");
        var section = new ModelSection();
        // Merges speak of the vocabulary, which may stand after them: remember the place, read them last.
        Utf8JsonReader merges = default;
        bool hasMerges = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            string name = reader.GetString()!;
            reader.Read();
            if (name == "vocab")
            {
                section.Vocabulary = ReadVocabulary(ref reader);
            }
            else if (name == "merges")
            {
                merges = reader;
                hasMerges = true;
                reader.Skip();
            }
            else
            {
                section._fields[name] = new JsonField(FileName, "model." + name, JsonElement.ParseValue(ref reader));
            }
        }

        section.RequireBytePair();
        if (section.Vocabulary is null || !hasMerges)
            throw new TokenizerFormatException(FileName, "model", "nothing", "must have vocab and merges");
        section.Merges = new MergeReader(section.Vocabulary).Read(ref merges);
        return section;
    }

    /// <summary>The flags of the model.</summary>
    public BytePairOptions ReadOptions(bool byteLevel)
    {
        RefuseUnlessEmpty("continuing_subword_prefix");
        RefuseUnlessEmpty("end_of_word_suffix");
        if (Field("dropout") is { } dropout && !(dropout.Element.ValueKind == JsonValueKind.Number && dropout.Element.GetDouble() == 0))
            throw dropout.Refuse("must be null: merges are not dropped at random");
        return new BytePairOptions
        {
            ByteLevel = byteLevel,
            ByteFallback = Field("byte_fallback")?.AsBool() ?? false,
            FuseUnknown = Field("fuse_unk")?.AsBool() ?? false,
            IgnoreMerges = Field("ignore_merges")?.AsBool() ?? false,
            UnknownId = ReadUnknownId(),
        };
    }

    private JsonField? Field(string name) =>
        _fields.TryGetValue(name, out JsonField field) && field.Element.ValueKind != JsonValueKind.Null ? field : null;

    private void RequireBytePair()
    {
        // Files of old versions have no type; what has merges is BPE.
        if (Field("type") is { } type && type.AsString() != "BPE")
            throw type.Refuse("is a model type that is not supported (BPE is)");
    }

    private void RefuseUnlessEmpty(string name)
    {
        if (Field(name) is { } field && field.AsString().Length > 0)
            throw field.Refuse("must be empty");
    }

    private int ReadUnknownId()
    {
        if (Field("unk_token") is not { } field)
            return -1;
        int id = Vocabulary.Find(Encoding.UTF8.GetBytes(field.AsString()));
        return id >= 0 ? id : throw field.Refuse("must be in the vocabulary");
    }

    private static TokenTable ReadVocabulary(ref Utf8JsonReader reader)
    {
        const int ExpectedTokens = 1 << 15;
        if (reader.TokenType != JsonTokenType.StartObject)
            throw Wrong("model.vocab", ref reader, "must be an object");
        var table = new TokenTable(ExpectedTokens);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(TokenizerLimits.MaxSpellingBytes);
        try
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                ReadOnlySpan<byte> spelling = Spelling(ref reader, buffer, VocabularyRank);
                reader.Read();
                if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out int id)
                    || id < 0 || id > TokenizerLimits.MaxTokenId)
                {
                    throw Wrong($"model.vocab[{Encoding.UTF8.GetString(spelling)}]", ref reader,
                        $"must be a whole number from 0 to {TokenizerLimits.MaxTokenId}");
                }

                if (!table.TryAdd(spelling, id))
                    throw Wrong($"model.vocab[{Encoding.UTF8.GetString(spelling)}]", ref reader, "is there twice, or its id is");
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        return table;
    }

    /// <summary>The unescaped UTF-8 of the string the reader stands at, copied into the buffer.</summary>
    /// <param name="reader">Stands at a string or a property name.</param>
    /// <param name="buffer">Room for the text.</param>
    /// <param name="rank">Which merge it belongs to, for errors; <see cref="VocabularyRank"/> for the vocabulary.</param>
    public static ReadOnlySpan<byte> Spelling(ref Utf8JsonReader reader, byte[] buffer, int rank)
    {
        if (reader.ValueSpan.Length > TokenizerLimits.MaxSpellingBytes)
        {
            string field = rank == VocabularyRank ? "model.vocab" : $"model.merges[{rank}]";
            throw new TokenizerFormatException(FileName, field, $"{reader.ValueSpan.Length} bytes",
                $"must have tokens of at most {TokenizerLimits.MaxSpellingBytes} bytes");
        }

        // CopyString also checks that the bytes are valid UTF-8.
        int length = reader.CopyString(buffer);
        return buffer.AsSpan(0, length);
    }

    public static TokenizerFormatException Wrong(string field, ref Utf8JsonReader reader, string problem) =>
        new(FileName, field, Encoding.UTF8.GetString(reader.ValueSpan), problem);
}
