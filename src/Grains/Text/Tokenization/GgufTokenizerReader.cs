using System.Text;
using Cluster.Kernels.Models;
using Cluster.Kernels.Models.Gguf;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>Makes a tokenizer of the vocabulary inside a GGUF file: <c>gpt2</c> (byte-level BPE) or <c>llama</c> (SentencePiece BPE).</summary>
internal sealed class GgufTokenizerReader
{
    private const string Prefix = "tokenizer.ggml.";

    // The specification's place for the whole tokenizer.json; the vocabulary beside it cannot say everything (normalisation, say).
    private const string WholeKey = "tokenizer.huggingface.json";

    // Names of tokenizer_config.json by the file's keys.
    private static readonly (string Key, string Name)[] TokenNames =
        [("bos", "bos_token"), ("eos", "eos_token"), ("unknown", "unk_token"), ("seperator", "sep_token"), ("padding", "pad_token"), ("cls", "cls_token"), ("mask", "mask_token")];

    private readonly GgufFields _fields;
    private readonly string[] _tokens;
    private readonly PieceType[] _types;

    private GgufTokenizerReader(GgufFields fields)
    {
        _fields = fields;
        _tokens = fields.Texts(Prefix + "tokens") ?? throw Refuse("tokens", "nothing", "is missing");
        if (_tokens.Length is 0 or > TokenizerLimits.MaxTokenId)
            throw Refuse("tokens", $"{_tokens.Length} tokens", $"must have 1..{TokenizerLimits.MaxTokenId}");
        for (int id = 0; id < _tokens.Length; id++)
            if (_tokens[id].Length > TokenizerLimits.MaxSpellingBytes / 3)
                throw Refuse($"tokens[{id}]", $"{_tokens[id].Length} characters", "must have a sensible length");
        _types = ReadTypes();
    }

    /// <summary>Whether the file has a vocabulary; without one it serves token ids only.</summary>
    public static bool IsPresent(GgufFields fields) => fields.Text(Prefix + "model") is { } model && model is not ("none" or "no_vocab");

    /// <summary>Reads vocabulary and named tokens.</summary>
    /// <exception cref="TokenizerFormatException">The vocabulary is damaged or of a kind that is not supported.</exception>
    public static (TokenizerDefinition Definition, TokenizerSettings Settings) Read(GgufFields fields)
    {
        try
        {
            if (fields.Text(WholeKey) is { } whole)
                return new GgufTokenizerReader(fields).ReadWhole(whole);
            string model = fields.Text(Prefix + "model") ?? "";
            return model switch
            {
                "gpt2" => new GgufTokenizerReader(fields).ReadByteLevel(),
                "llama" => new GgufTokenizerReader(fields).ReadSentencePiece(),
                _ => throw new TokenizerFormatException(fields.File, Prefix + "model", model, "must be gpt2 (byte-level BPE) or llama (SentencePiece BPE)"),
            };
        }
        catch (CheckpointFormatException exception)
        {
            throw new TokenizerFormatException(exception.File, exception.Field, exception.Actual, $"must be {exception.Limit}", exception);
        }
    }

    /// <summary>The file's chat templates by name.</summary>
    public static Dictionary<string, string> ReadChatTemplates(GgufFields fields)
    {
        const string Key = "tokenizer.chat_template";
        var templates = new Dictionary<string, string>();
        if (fields.Text(Key) is { } template)
            templates[ChatTemplateSources.DefaultName] = template;
        foreach (string key in fields.Keys.Where(key => key.StartsWith(Key + ".", StringComparison.Ordinal)))
            templates[key[(Key.Length + 1)..]] = fields.Text(key)!;
        return templates;
    }

    private (TokenizerDefinition, TokenizerSettings) ReadWhole(string json)
    {
        TokenizerSettings settings = Settings(addsBegin: false) with { FlagsWin = _fields.Has(Prefix + "add_bos_token") };
        return (TokenizerJsonReader.Read(Encoding.UTF8.GetBytes(json), settings), settings);
    }

    private (TokenizerDefinition, TokenizerSettings) ReadByteLevel()
    {
        GgufPretokenizer words = GgufPretokenizer.Of(_fields.Text(Prefix + "pre"), _fields.File);
        var vocabulary = new TokenTable(_tokens.Length);
        for (int id = 0; id < _tokens.Length; id++)
        {
            if (_types[id] is PieceType.Normal or PieceType.Byte && !vocabulary.TryAdd(Encoding.UTF8.GetBytes(_tokens[id]), id))
                throw Refuse($"tokens[{id}]", _tokens[id], "is there twice");
        }
        TokenizerSettings settings = Settings(addsBegin: words.AddsBegin);
        return (new TokenizerDefinition
        {
            File = _fields.File,
            Vocabulary = vocabulary,
            Merges = ReadMerges(vocabulary),
            Options = new BytePairOptions { ByteLevel = true, IgnoreMerges = words.IgnoreMerges },
            AddedTokens = AddedTokens(),
            Normalization = words.Normalization,
            Pretokenizers = words.Steps,
            Decoder = new DecoderShape { ByteLevel = true },
        }, settings);
    }

    private (TokenizerDefinition, TokenizerSettings) ReadSentencePiece()
    {
        float[] scores = _fields.Numbers(Prefix + "scores") ?? throw Refuse("scores", "nothing", "is missing");
        if (scores.Length != _tokens.Length || scores.Any(float.IsNaN))
            throw Refuse("scores", $"{scores.Length} scores", $"must be {_tokens.Length} numbers");
        if (_fields.Flag(Prefix + "remove_extra_whitespaces", false))
            throw Refuse("remove_extra_whitespaces", "true", "is not supported");
        SentencePiece[] pieces = [.. _tokens.Select((token, id) => new SentencePiece(token, scores[id], _types[id]))];
        TokenizerSettings settings = Settings(addsBegin: true) with { AddedTokens = AddedTokens() };
        bool hasBytes = _types.Contains(PieceType.Byte);
        return (SentencePieceReader.Build(_fields.File, pieces, hasBytes, _fields.Flag(Prefix + "add_space_prefix", true), settings), settings);
    }

    private MergeTable ReadMerges(TokenTable vocabulary)
    {
        string[] texts = _fields.Texts(Prefix + "merges") ?? throw Refuse("merges", "nothing", "is missing");
        var merges = new MergeTable(texts.Length + 1);
        for (int rank = 0; rank < texts.Length; rank++)
        {
            // The space between may follow a token that begins with one in no alphabet: byte-level spellings have no space.
            int space = texts[rank].IndexOf(' ', Math.Min(1, texts[rank].Length));
            if (space < 0)
                throw Refuse($"merges[{rank}]", texts[rank], "must be two tokens with one space between");
            (string left, string right) = (texts[rank][..space], texts[rank][(space + 1)..]);
            merges.Add(Id(left), Id(right), rank, Id(left + right));

            int Id(string spelling) => vocabulary.Find(Encoding.UTF8.GetBytes(spelling)) is >= 0 and int id
                ? id
                : throw Refuse($"merges[{rank}]", texts[rank], $"must speak of tokens of the vocabulary, not of '{spelling}'");
        }
        return merges;
    }

    private PieceType[] ReadTypes()
    {
        float[]? numbers = _fields.Numbers(Prefix + "token_type");
        if (numbers is null)
            return [.. _tokens.Select(_ => PieceType.Normal)];
        if (numbers.Length != _tokens.Length)
            throw Refuse("token_type", $"{numbers.Length} types", $"must be as many as tokens, {_tokens.Length}");
        return [.. numbers.Select((number, id) => number is >= (int)PieceType.Normal and <= (int)PieceType.Byte
            ? (PieceType)number
            : throw Refuse($"token_type[{id}]", $"{number}", "must be a whole number from 1 to 6"))];
    }

    // Control tokens are recognised in text as Hugging Face does it; unused ids have no text.
    private List<AddedToken> AddedTokens()
    {
        var tokens = new List<AddedToken>();
        for (int id = 0; id < _tokens.Length; id++)
        {
            if (_types[id] is PieceType.Control or PieceType.UserDefined or PieceType.Unknown && _tokens[id].Length > 0)
                tokens.Add(new AddedToken(id, _tokens[id]) { Special = _types[id] != PieceType.UserDefined });
        }
        return tokens;
    }

    private TokenizerSettings Settings(bool addsBegin)
    {
        var names = new Dictionary<string, string>();
        foreach ((string key, string name) in TokenNames)
        {
            string full = $"{Prefix}{key}_token_id";
            if (_fields.Has(full))
                names[name] = _tokens[_fields.Integer(full, 0, _tokens.Length - 1)];
        }
        return new TokenizerSettings
        {
            SpecialTokens = names,
            AddBos = _fields.Flag(Prefix + "add_bos_token", addsBegin),
            AddEos = _fields.Flag(Prefix + "add_eos_token", false),
            FlagsWin = true,
        };
    }

    private TokenizerFormatException Refuse(string field, string value, string problem) => new(_fields.File, Prefix + field, value, problem);
}
