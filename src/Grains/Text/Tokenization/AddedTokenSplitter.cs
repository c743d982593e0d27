using System.Buffers;
using System.Globalization;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>A piece of a text: either an added token, or text between added tokens (<see cref="TokenId"/> is -1).</summary>
internal readonly record struct TextSegment(int Start, int Length, int TokenId)
{
    public const int NoToken = -1;
}

/// <summary>Cuts added tokens out of a text: leftmost first, the longest of those that start at one place.</summary>
internal sealed class AddedTokenSplitter
{
    private readonly Node _root = new();
    private readonly SearchValues<char> _firstChars;

    /// <param name="tokens">The tokens with the spelling to look for, which for normalised tokens is itself normalised.</param>
    public AddedTokenSplitter(IEnumerable<(string Spelling, AddedToken Token)> tokens)
    {
        foreach ((string spelling, AddedToken token) in tokens)
        {
            Node node = _root;
            foreach (char c in spelling)
            {
                if (!node.Children.TryGetValue(c, out Node? child))
                    node.Children.Add(c, child = new Node());
                node = child;
            }

            node.Token = token;
        }

        _firstChars = SearchValues.Create([.. _root.Children.Keys]);
        IsEmpty = _root.Children.Count == 0;
    }

    /// <summary>Whether there is nothing to look for.</summary>
    public bool IsEmpty { get; }

    /// <summary>The segments of the text in order; together they cover it, except for stripped white space.</summary>
    public List<TextSegment> Split(ReadOnlySpan<char> text)
    {
        var segments = new List<TextSegment>();
        int done = 0;
        int from = 0;
        while (!IsEmpty && from < text.Length)
        {
            int offset = text[from..].IndexOfAny(_firstChars);
            if (offset < 0)
                break;
            int start = from + offset;
            AddedToken? token = Longest(text[start..], out int length);
            from = start + Math.Max(length, 1);
            if (token is null || (token.SingleWord && !StandsAlone(text, start, length)))
                continue;
            int end = start + length;
            while (token.StripLeft && start > done && char.IsWhiteSpace(text[start - 1]))
                start--;
            while (token.StripRight && end < text.Length && char.IsWhiteSpace(text[end]))
                end++;
            AddText(segments, done, start);
            segments.Add(new TextSegment(start, end - start, token.Id));
            done = from = end;
        }

        AddText(segments, done, text.Length);
        return segments;
    }

    private AddedToken? Longest(ReadOnlySpan<char> text, out int length)
    {
        AddedToken? found = null;
        length = 0;
        Node? node = _root;
        for (int i = 0; i < text.Length && node.Children.TryGetValue(text[i], out node); i++)
        {
            if (node.Token is null)
                continue;
            found = node.Token;
            length = i + 1;
        }

        return found;
    }

    private static void AddText(List<TextSegment> segments, int start, int end)
    {
        if (end > start)
            segments.Add(new TextSegment(start, end - start, TextSegment.NoToken));
    }

    private static bool StandsAlone(ReadOnlySpan<char> text, int start, int length) =>
        (start == 0 || !IsWordChar(text[start - 1]))
        && (start + length == text.Length || !IsWordChar(text[start + length]));

    private static bool IsWordChar(char c) => char.IsLetterOrDigit(c)
        || char.GetUnicodeCategory(c) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark
            or UnicodeCategory.EnclosingMark or UnicodeCategory.LetterNumber or UnicodeCategory.ConnectorPunctuation;

    private sealed class Node
    {
        public Dictionary<char, Node> Children { get; } = [];

        public AddedToken? Token { get; set; }
    }
}
