using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// Byte pair encoding of one word: first symbols, then merges by rank, leftmost first among equals. Short words are
/// merged by scanning, long ones (a whole text is one word in SentencePiece style) through a priority queue, so the
/// cost is never quadratic in the text. Immutable but for its bounded word cache; safe for many threads.
/// </summary>
internal sealed class BytePairEncoder
{
    private const int LongestScannedWord = 96;
    private const int MaxUtf8PerChar = 3;
    private const char WordMark = '\u2581';

    private readonly TokenTable _words;
    private readonly MergeTable _merges;
    private readonly BytePairOptions _options;
    private readonly int[] _byteIds;
    private readonly WordCache _cache = new();
    private readonly bool _splitsAtWordMarks;

    /// <param name="vocabulary">Spellings as in the file.</param>
    /// <param name="merges">Merges over the ids of <paramref name="vocabulary"/>.</param>
    /// <param name="options">How first symbols are made.</param>
    public BytePairEncoder(TokenTable vocabulary, MergeTable merges, BytePairOptions options)
    {
        _merges = merges;
        _options = options;
        _words = options is { ByteLevel: true, IgnoreMerges: true } ? BytesOf(vocabulary) : vocabulary;
        _byteIds = options.ByteLevel ? ByteLevelIds(vocabulary) : ByteFallbackIds(vocabulary);
        _splitsAtWordMarks = !options.ByteLevel && NoTokenSpansWords(vocabulary);
    }

    /// <summary>Appends the ids of a pre-tokenized word.</summary>
    public void Encode(ReadOnlySpan<char> word, List<int> ids)
    {
        while (!word.IsEmpty)
        {
            int length = _splitsAtWordMarks ? FirstWordLength(word) : word.Length;
            EncodeCached(word[..length], ids);
            word = word[length..];
        }
    }

    private void EncodeCached(ReadOnlySpan<char> word, List<int> ids)
    {
        if (word.Length > WordCache.LongestWord)
        {
            EncodeWord(word, ids);
            return;
        }

        if (_cache.TryGet(word, out ReadOnlySpan<int> known))
        {
            ids.AddRange(known);
            return;
        }

        int before = ids.Count;
        EncodeWord(word, ids);
        _cache.Add(word, CollectionsMarshal.AsSpan(ids)[before..]);
    }

    private void EncodeWord(ReadOnlySpan<char> word, List<int> ids)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(checked(word.Length * MaxUtf8PerChar));
        int[] symbols = ArrayPool<int>.Shared.Rent(bytes.Length);
        try
        {
            Span<byte> utf8 = bytes.AsSpan(0, Encoding.UTF8.GetBytes(word, bytes));
            if (_options.IgnoreMerges && _words.Find(utf8) is >= 0 and int whole)
            {
                ids.Add(whole);
                return;
            }

            int count = _options.ByteLevel ? ByteSymbols(utf8, symbols) : CharacterSymbols(utf8, symbols);
            Span<int> merged = Merge(symbols.AsSpan(0, count));
            ids.AddRange((ReadOnlySpan<int>)merged);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
            ArrayPool<int>.Shared.Return(symbols);
        }
    }

    private int ByteSymbols(ReadOnlySpan<byte> utf8, int[] symbols)
    {
        int count = 0;
        foreach (byte value in utf8)
        {
            if (_byteIds[value] >= 0)
                symbols[count++] = _byteIds[value];
            else
                count = AddUnknown(symbols, count);
        }

        return count;
    }

    private int CharacterSymbols(ReadOnlySpan<byte> utf8, int[] symbols)
    {
        int count = 0;
        while (!utf8.IsEmpty)
        {
            Rune.DecodeFromUtf8(utf8, out _, out int length);
            ReadOnlySpan<byte> character = utf8[..length];
            utf8 = utf8[length..];
            int id = _words.Find(character);
            if (id >= 0)
                symbols[count++] = id;
            else if (!_options.ByteFallback || !TryAddBytes(character, symbols, ref count))
                count = AddUnknown(symbols, count);
        }

        return count;
    }

    private bool TryAddBytes(ReadOnlySpan<byte> character, int[] symbols, ref int count)
    {
        foreach (byte value in character)
        {
            if (_byteIds[value] < 0)
                return false;
        }

        foreach (byte value in character)
            symbols[count++] = _byteIds[value];
        return true;
    }

    private int AddUnknown(int[] symbols, int count)
    {
        bool fused = _options.FuseUnknown && count > 0 && symbols[count - 1] == _options.UnknownId;
        if (_options.UnknownId >= 0 && !fused)
            symbols[count++] = _options.UnknownId;
        return count;
    }

    private Span<int> Merge(Span<int> symbols) =>
        symbols.Length <= LongestScannedWord ? MergeByScanning(symbols) : LongWordMerger.Merge(symbols, _merges);

    private Span<int> MergeByScanning(Span<int> symbols)
    {
        Span<ulong> pairs = stackalloc ulong[LongestScannedWord];
        for (int i = 0; i + 1 < symbols.Length; i++)
            pairs[i] = _merges.Find(symbols[i], symbols[i + 1]);
        while (symbols.Length > 1)
        {
            int best = 0;
            int pairCount = symbols.Length - 1;
            for (int i = 1; i < pairCount; i++)
            {
                if (pairs[i] < pairs[best])
                    best = i;
            }

            if (pairs[best] == MergeTable.None)
                break;
            symbols[best] = (int)(uint)pairs[best];
            symbols[(best + 2)..].CopyTo(symbols[(best + 1)..]);
            pairs[(best + 1)..pairCount].CopyTo(pairs[best..]);
            symbols = symbols[..^1];
            if (best > 0)
                pairs[best - 1] = _merges.Find(symbols[best - 1], symbols[best]);
            if (best + 1 < symbols.Length)
                pairs[best] = _merges.Find(symbols[best], symbols[best + 1]);
        }

        return symbols;
    }

    private static int FirstWordLength(ReadOnlySpan<char> text)
    {
        int marks = text.IndexOfAnyExcept(WordMark);
        if (marks < 0)
            return text.Length;
        int next = text[marks..].IndexOf(WordMark);
        return next < 0 ? text.Length : marks + next;
    }

    /// <summary>
    /// True where no token has a word mark (U+2581) after another character. Then no merge can cross from a word into
    /// the next word's mark, and a text may be encoded word by word with the same result.
    /// </summary>
    private bool NoTokenSpansWords(TokenTable vocabulary)
    {
        ReadOnlySpan<byte> mark = "\u2581"u8;
        if (_options.IgnoreMerges || vocabulary.Find(mark) < 0)
            return false;
        for (int id = 0; id < vocabulary.IdLimit; id++)
        {
            ReadOnlySpan<byte> spelling = vocabulary[id];
            while (spelling.StartsWith(mark))
                spelling = spelling[mark.Length..];
            if (spelling.IndexOf(mark) >= 0)
                return false;
        }

        return true;
    }

    private static TokenTable BytesOf(TokenTable vocabulary)
    {
        var words = new TokenTable(vocabulary.Count);
        byte[] bytes = new byte[MaxSpellingLength(vocabulary)];
        for (int id = 0; id < vocabulary.IdLimit; id++)
        {
            if (vocabulary.Contains(id) && ByteAlphabet.TryGetBytes(vocabulary[id], bytes, out int count))
                words.TryAdd(bytes.AsSpan(0, count), id);
        }

        return words;
    }

    private static int MaxSpellingLength(TokenTable vocabulary)
    {
        int longest = 0;
        for (int id = 0; id < vocabulary.IdLimit; id++)
            longest = Math.Max(longest, vocabulary[id].Length);
        return longest;
    }

    private static int[] ByteLevelIds(TokenTable vocabulary) => [.. Enumerable.Range(0, 256)
        .Select(value => vocabulary.Find(Encoding.UTF8.GetBytes([ByteAlphabet.Spell((byte)value)])))];

    private static int[] ByteFallbackIds(TokenTable vocabulary) => [.. Enumerable.Range(0, 256)
        .Select(value => vocabulary.Find(Encoding.UTF8.GetBytes($"<0x{value:X2}>")))];
}
