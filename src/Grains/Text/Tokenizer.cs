using System.Text;
using System.Text.RegularExpressions;
using Cluster.Grains.Text.Tokenization;
using Cluster.Kernels.Models.Gguf;

namespace Cluster.Grains.Text;

/// <summary>
/// The tokenizer of a checkpoint: text to token ids and back, exactly as Hugging Face's tokenizers library does it for
/// byte-level and SentencePiece-style BPE. Safe for many threads; one per model and process. Its only growing state is
/// a word cache of fixed size.
/// </summary>
internal sealed class Tokenizer
{
    private readonly TokenizerDefinition _definition;
    private readonly BytePairEncoder _encoder;
    private readonly TokenPieces _pieces;
    private readonly AddedTokenSplitter _rawTokens;
    private readonly AddedTokenSplitter _normalizedTokens;
    private readonly SpecialTokenFrame _frame;
    private readonly Dictionary<int, string> _addedSpellings;
    private readonly Dictionary<string, int> _addedIds;
    private readonly HashSet<int> _specialIds;

    private Tokenizer(TokenizerDefinition definition, TokenizerSettings settings)
    {
        _definition = definition;
        _encoder = new BytePairEncoder(definition.Vocabulary, definition.Merges, definition.Options);
        _addedSpellings = SpellingsById(definition);
        _addedIds = _addedSpellings.ToDictionary(entry => entry.Value, entry => entry.Key);
        _pieces = new TokenPieces(definition.Vocabulary, _addedSpellings, definition.Decoder);
        Normalization normalization = definition.Normalization;
        _rawTokens = new AddedTokenSplitter(definition.AddedTokens.Where(token => !token.Normalized)
            .Select(token => (token.Content, token)));
        _normalizedTokens = new AddedTokenSplitter(definition.AddedTokens.Where(token => token.Normalized)
            .Select(token => (normalization.Apply(token.Content), token)));
        SpecialTokens = settings.SpecialTokens;
        BosTokenId = NamedId("bos_token");
        EosTokenIds = NamedId("eos_token") is { } eos ? [eos] : [];
        _specialIds = SpecialIds(settings);
        _frame = settings.FlagsWin ? FrameByFlags(settings) : definition.Frame;
    }

    /// <summary>Highest token id plus one. A model's embedding may have more rows; these ids have no text.</summary>
    public int VocabularySize => _pieces.Count;

    /// <summary>The begin token, where the checkpoint names one.</summary>
    public int? BosTokenId { get; }

    /// <summary>The end tokens that the tokenizer's files name; generation_config.json may name more.</summary>
    public IReadOnlyList<int> EosTokenIds { get; }

    /// <summary>Spellings of the named special tokens, by name (<c>bos_token</c>, <c>eos_token</c>, ...).</summary>
    public IReadOnlyDictionary<string, string> SpecialTokens { get; }

    /// <summary>Whether a model folder has a tokenizer at all; one without serves token ids only.</summary>
    public static bool IsPresent(string modelFolder) => TokenizerFiles.ArePresent(modelFolder);

    /// <summary>Loads tokenizer.json, else tokenizer.model, with the configuration files beside it.</summary>
    /// <exception cref="TokenizerFormatException">A file is missing, damaged or not supported.</exception>
    public static Tokenizer Load(string modelFolder)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelFolder);
        return Create(TokenizerFiles.Read(modelFolder));
    }

    /// <summary>Makes a tokenizer of file contents.</summary>
    internal static Tokenizer Create(TokenizerFiles files)
    {
        TokenizerSettings settings = TokenizerSettings.Read(files);
        TokenizerDefinition definition = files.TokenizerJson is { } json
            ? TokenizerJsonReader.Read(json, settings)
            : SentencePieceReader.Read(files.SentencePiece!, settings);
        return new Tokenizer(definition, settings);
    }

    /// <summary>Makes a tokenizer of the vocabulary inside a GGUF file; null where it has none.</summary>
    /// <exception cref="TokenizerFormatException">The vocabulary is damaged or not supported.</exception>
    internal static Tokenizer? TryCreate(GgufFields fields)
    {
        if (!GgufTokenizerReader.IsPresent(fields))
            return null;
        (TokenizerDefinition definition, TokenizerSettings settings) = GgufTokenizerReader.Read(fields);
        return new Tokenizer(definition, settings);
    }

    /// <summary>The token ids of a text. Spellings of special tokens inside the text are recognised.</summary>
    /// <param name="text">Any text; unpaired surrogates count as U+FFFD.</param>
    /// <param name="addSpecialTokens">Adds the begin or end tokens that the checkpoint asks for.</param>
    public int[] Encode(string text, bool addSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(text);
        text = WithoutUnpairedSurrogates(text);
        var ids = new List<int>(text.Length / 3 + 8);
        if (addSpecialTokens)
            ids.AddRange(_frame.Before);
        foreach (TextSegment segment in _rawTokens.Split(text))
        {
            if (segment.TokenId == TextSegment.NoToken)
                EncodeText(text.Substring(segment.Start, segment.Length), segment.Start == 0, ids);
            else
                ids.Add(segment.TokenId);
        }

        if (addSpecialTokens)
            ids.AddRange(_frame.After);
        return [.. ids];
    }

    /// <summary>The text of token ids. Ids outside the vocabulary have no text; broken UTF-8 becomes U+FFFD.</summary>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens)
    {
        TextAssembler assembler = NewAssembler(holdByteRuns: true);
        var text = new StringBuilder();
        foreach (int id in ids)
        {
            if (!skipSpecialTokens || !IsSpecial(id))
                assembler.Append(id, text);
        }

        assembler.Flush(text);
        return text.ToString();
    }

    /// <summary>Whether the token is left out of text when special tokens are skipped.</summary>
    public bool IsSpecial(int id) => _specialIds.Contains(id);

    /// <summary>The bytes that a token adds to a text, with its leading space; empty outside the vocabulary.</summary>
    public ReadOnlyMemory<byte> TokenBytes(int id) => _pieces.Bytes(id);

    /// <summary>The text of one token alone, with its leading space; bytes of a part of a character become U+FFFD.</summary>
    public string TokenText(int id) => Encoding.UTF8.GetString(_pieces.Bytes(id).Span);

    /// <summary>The id of a token by its spelling in the vocabulary, or null.</summary>
    public int? TokenId(string spelling)
    {
        ArgumentNullException.ThrowIfNull(spelling);
        if (_addedIds.TryGetValue(spelling, out int added))
            return added;
        int id = _definition.Vocabulary.Find(Encoding.UTF8.GetBytes(spelling));
        return id >= 0 ? id : null;
    }

    internal TextAssembler NewAssembler(bool holdByteRuns) => new(_pieces, _definition.Decoder, holdByteRuns);

    private void EncodeText(string text, bool startsInput, List<int> ids)
    {
        string normalized = _definition.Normalization.Apply(text);
        foreach (TextSegment segment in _normalizedTokens.Split(normalized))
        {
            if (segment.TokenId == TextSegment.NoToken)
                EncodeWords(normalized.Substring(segment.Start, segment.Length), startsInput && segment.Start == 0, ids);
            else
                ids.Add(segment.TokenId);
        }
    }

    private void EncodeWords(string text, bool startsInput, List<int> ids)
    {
        var words = new PretokenizedText(text, startsInput);
        try
        {
            foreach (IPretokenizer step in _definition.Pretokenizers)
                step.Apply(words);
        }
        catch (RegexMatchTimeoutException exception)
        {
            throw new TokenizerFormatException(_definition.File, "pre_tokenizer", exception.Pattern,
                $"took longer than {PretokenizerReader.PatternTimeoutSeconds} s on {text.Length} characters", exception);
        }

        foreach (TextPiece word in words.Pieces)
            _encoder.Encode(words.Text(word), ids);
    }

    private int? NamedId(string name) => SpecialTokens.TryGetValue(name, out string? spelling) ? TokenId(spelling) : null;

    private HashSet<int> SpecialIds(TokenizerSettings settings) =>
    [
        .. _definition.AddedTokens.Where(token => token.Special).Select(token => token.Id),
        .. settings.SpecialTokens.Values.Concat(settings.AdditionalSpecialTokens)
            .Where(_addedIds.ContainsKey).Select(spelling => _addedIds[spelling]),
    ];

    private SpecialTokenFrame FrameByFlags(TokenizerSettings settings)
    {
        IReadOnlyList<int> Token(bool? isAdded, int? id, IReadOnlyList<int> otherwise) =>
            isAdded is null ? otherwise : isAdded.Value && id is not null ? [id.Value] : [];

        return new SpecialTokenFrame(Token(settings.AddBos, BosTokenId, _definition.Frame.Before),
            Token(settings.AddEos, EosTokenIds.Count > 0 ? EosTokenIds[0] : null, _definition.Frame.After));
    }

    private static Dictionary<int, string> SpellingsById(TokenizerDefinition definition)
    {
        var spellings = new Dictionary<int, string>();
        var seen = new HashSet<string>();
        foreach (AddedToken token in definition.AddedTokens)
        {
            byte[] spelling = Encoding.UTF8.GetBytes(token.Content);
            int known = definition.Vocabulary.Find(spelling);
            bool idIsTaken = definition.Vocabulary.Contains(token.Id) && known != token.Id;
            if ((known >= 0 && known != token.Id) || idIsTaken
                || !seen.Add(token.Content) || !spellings.TryAdd(token.Id, token.Content))
            {
                throw new TokenizerFormatException(definition.File, $"added token {token.Id}", token.Content,
                    "must not share its id or its spelling with another token");
            }
        }

        return spellings;
    }

    private static string WithoutUnpairedSurrogates(string text)
    {
        if (text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF') < 0)
            return text;
        var fixedText = new StringBuilder(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
            fixedText.Append(rune.ToString());
        return fixedText.ToString();
    }
}
