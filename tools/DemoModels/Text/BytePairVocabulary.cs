using System.Text;
using System.Text.RegularExpressions;

namespace Cluster.DemoModels.Text;

/// <summary>
/// A byte-level BPE vocabulary: special tokens first, then the 256 bytes, then one token per merge in the order learned.
/// Encodes for training; whoever serves the model reads the same vocabulary from tokenizer.json.
/// </summary>
internal sealed partial class BytePairVocabulary
{
    /// <summary>End of a document, and padding.</summary>
    public const string EndOfText = "<|endoftext|>";

    /// <summary>Begin of a chat message; its role and a line break follow.</summary>
    public const string MessageStart = "<|im_start|>";

    /// <summary>End of a chat message: what the model says when its answer is complete.</summary>
    public const string MessageEnd = "<|im_end|>";

    /// <summary>How text is cut before merging; Qwen2's expression: words take one leading space, digits stand alone.</summary>
    public const string SplitPattern =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    private readonly Dictionary<(int Left, int Right), int> _ranks = [];
    private readonly Dictionary<string, int[]> _words = [];
    private readonly List<byte[]> _tokens = [];

    public BytePairVocabulary(IEnumerable<(int Left, int Right)> merges)
    {
        foreach (string special in SpecialTokens)
            _tokens.Add(Encoding.UTF8.GetBytes(special));
        for (int value = 0; value < 256; value++)
            _tokens.Add([(byte)value]);
        foreach ((int left, int right) in merges)
        {
            _ranks.Add((left, right), _tokens.Count);
            _tokens.Add([.. _tokens[left], .. _tokens[right]]);
            Merges.Add((left, right));
        }
    }

    /// <summary>The special tokens; a token's id is its place here.</summary>
    public static IReadOnlyList<string> SpecialTokens { get; } = [EndOfText, MessageStart, MessageEnd];

    public static int EndOfTextId => 0;

    public static int MessageStartId => 1;

    public static int MessageEndId => 2;

    /// <summary>Id of the token of byte 0.</summary>
    public static int FirstByteId => SpecialTokens.Count;

    /// <summary>Merged pairs of token ids, in the order learned.</summary>
    public List<(int Left, int Right)> Merges { get; } = [];

    public int Size => _tokens.Count;

    /// <summary>The bytes of a token; of a special token its name.</summary>
    public ReadOnlySpan<byte> BytesOf(int id) => _tokens[id];

    [GeneratedRegex(SplitPattern)]
    public static partial Regex Splitter { get; }

    /// <summary>Token ids of plain text; special tokens in it are not recognised.</summary>
    public void Encode(string text, List<int> ids)
    {
        foreach (ValueMatch match in Splitter.EnumerateMatches(text))
        {
            string word = text.Substring(match.Index, match.Length);
            if (!_words.TryGetValue(word, out int[]? encoded))
                _words.Add(word, encoded = EncodeWord(word));
            ids.AddRange(encoded);
        }
    }

    /// <summary>Text of token ids; special tokens appear by name, broken UTF-8 as U+FFFD.</summary>
    public string Decode(IEnumerable<int> ids) => Encoding.UTF8.GetString(ids.SelectMany(id => _tokens[id]).ToArray());

    private int[] EncodeWord(string word)
    {
        List<int> symbols = [.. Encoding.UTF8.GetBytes(word).Select(value => FirstByteId + value)];
        while (symbols.Count > 1)
        {
            int best = int.MaxValue;
            for (int i = 0; i + 1 < symbols.Count; i++)
                best = Math.Min(best, _ranks.GetValueOrDefault((symbols[i], symbols[i + 1]), int.MaxValue));
            if (best == int.MaxValue)
                break;
            (int left, int right) = Merges[best - FirstByteId - 256];
            Merge(symbols, left, right, best);
        }
        return [.. symbols];
    }

    /// <summary>Replaces every pair (left, right) by one token, left to right.</summary>
    internal static void Merge(List<int> symbols, int left, int right, int merged)
    {
        int write = 0;
        for (int read = 0; read < symbols.Count; read++)
        {
            if (read + 1 < symbols.Count && symbols[read] == left && symbols[read + 1] == right)
            {
                symbols[write++] = merged;
                read++;
            }
            else
            {
                symbols[write++] = symbols[read];
            }
        }
        symbols.RemoveRange(write, symbols.Count - write);
    }
}
