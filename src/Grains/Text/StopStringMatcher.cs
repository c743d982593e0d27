using System.Text;

namespace Cluster.Grains.Text;

/// <summary>
/// Looks for stop strings in a text that arrives in pieces. Text that may turn out to begin a stop string is held
/// back. A stop string is recognised with its last character, without waiting for a longer one that began earlier;
/// where several become complete with the same character, the one that began earliest is taken. The outcome depends
/// only on the concatenated pieces, never on where they were cut. Not thread-safe; one per choice.
/// </summary>
internal sealed class StopStringMatcher
{
    /// <summary>Most stop strings of one request.</summary>
    public const int MaxStopStrings = 16;

    /// <summary>Longest stop string in UTF-16 units.</summary>
    public const int MaxLength = 4096;

    private readonly Pattern[] _patterns;
    private readonly bool _includeStopString;
    private readonly StringBuilder _held = new();

    /// <param name="stopStrings">Up to 16 strings, none of them empty.</param>
    /// <param name="includeStopString">The released text ends with the stop string instead of before it.</param>
    public StopStringMatcher(IReadOnlyList<string> stopStrings, bool includeStopString)
    {
        ArgumentNullException.ThrowIfNull(stopStrings);
        if (stopStrings.Count > MaxStopStrings)
            throw new ArgumentException($"At most {MaxStopStrings} stop strings, not {stopStrings.Count}.", nameof(stopStrings));
        if (stopStrings.Any(stop => stop.Length is 0 or > MaxLength))
            throw new ArgumentException($"A stop string has 1 to {MaxLength} characters.", nameof(stopStrings));
        _patterns = [.. stopStrings.Select(stop => new Pattern(stop))];
        _includeStopString = includeStopString;
    }

    /// <summary>The stop string that ended the text, or null while none has.</summary>
    public string? Matched { get; private set; }

    /// <summary>
    /// Appends text and returns what may be shown now. After a match nothing more is released; the text of the match
    /// and behind it is dropped (but for the stop string itself where it is to be included).
    /// </summary>
    public string Append(ReadOnlySpan<char> text)
    {
        if (Matched is not null)
            return "";
        if (_patterns.Length == 0)
            return text.ToString();
        foreach (char c in text)
        {
            _held.Append(c);
            if (Advance(c) is not { } match)
                continue;
            Matched = match.Text;
            int end = _held.Length - (_includeStopString ? 0 : match.Text.Length);
            return Take(end);
        }

        return Take(_held.Length - _patterns.Max(pattern => pattern.Progress));
    }

    /// <summary>Ends the text: what was held back is no stop string and is released.</summary>
    public string Flush() => Take(Matched is null ? _held.Length : 0);

    private Pattern? Advance(char c)
    {
        Pattern? longest = null;
        foreach (Pattern pattern in _patterns)
        {
            if (pattern.Advance(c) && pattern.Text.Length > (longest?.Text.Length ?? 0))
                longest = pattern;
        }

        return longest;
    }

    private string Take(int count)
    {
        string text = _held.ToString(0, count);
        _held.Remove(0, count);
        return text;
    }

    /// <summary>One stop string with its Knuth-Morris-Pratt table; O(1) amortised per character.</summary>
    private sealed class Pattern
    {
        private readonly int[] _fallback;

        public Pattern(string text)
        {
            Text = text;
            _fallback = new int[text.Length];
            for (int i = 1, length = 0; i < text.Length; i++)
            {
                while (length > 0 && text[i] != text[length])
                    length = _fallback[length - 1];
                if (text[i] == text[length])
                    length++;
                _fallback[i] = length;
            }
        }

        public string Text { get; }

        /// <summary>Length of the longest beginning of the stop string that the text now ends with.</summary>
        public int Progress { get; private set; }

        /// <summary>Takes one character; true when the stop string is complete.</summary>
        public bool Advance(char c)
        {
            while (Progress > 0 && Text[Progress] != c)
                Progress = _fallback[Progress - 1];
            if (Text[Progress] == c)
                Progress++;
            return Progress == Text.Length;
        }
    }
}
