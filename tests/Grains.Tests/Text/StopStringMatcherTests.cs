using System.Text;
using Cluster.Grains.Text;
using CsCheck;

namespace Cluster.Grains.Tests.Text;

public class StopStringMatcherTests
{
    [Fact]
    public void Text_IsHeldBackOnlyWhileItMayBeginAStopString()
    {
        var matcher = new StopStringMatcher(["END", "\n\n"], includeStopString: false);
        Assert.Equal("ab", matcher.Append("abE"));
        Assert.Equal("", matcher.Append("N"));
        Assert.Equal("ENx", matcher.Append("x\n"));
        Assert.Equal("\ny", matcher.Append("y"));
        Assert.Null(matcher.Matched);
        Assert.Equal("z", matcher.Append("zEND more"));
        Assert.Equal("END", matcher.Matched);
        Assert.Equal("", matcher.Append("END"));
        Assert.Equal("", matcher.Flush());
    }

    [Fact]
    public void StopString_IsIncludedIfAsked()
    {
        var matcher = new StopStringMatcher(["stop"], includeStopString: true);
        Assert.Equal("please ", matcher.Append("please st"));
        Assert.Equal("stop", matcher.Append("opped"));
        Assert.Equal("stop", matcher.Matched);
    }

    [Fact]
    public void Flush_ReleasesWhatWasNoStopString()
    {
        var matcher = new StopStringMatcher(["abcd"], includeStopString: false);
        Assert.Equal("", matcher.Append("abc"));
        Assert.Equal("abc", matcher.Flush());
        Assert.Null(matcher.Matched);
    }

    [Theory]
    [InlineData("aab", "aaab", "a", "aab")]
    [InlineData("ababc", "abababc", "ab", "ababc")]
    [InlineData("bc|abc", "xabc", "x", "abc")]
    [InlineData("abcd|bc", "abcd", "a", "bc")]
    public void EarliestCompletion_Wins(string stops, string text, string released, string matched)
    {
        var matcher = new StopStringMatcher(stops.Split('|'), includeStopString: false);
        Assert.Equal(released, string.Concat(text.Select(c => matcher.Append([c]))));
        Assert.Equal(matched, matcher.Matched);
    }

    [Fact]
    public void Chunking_DoesNotMatter()
    {
        Gen<string> text = Gen.Char["ab\n"].Array[0, 60].Select(chars => new string(chars));
        Gen<string[]> stops = Gen.Char["ab\n"].Array[1, 5].Select(chars => new string(chars)).Array[0, 4];
        Gen.Select(text, stops, Gen.Int[1, 7].Array[60], Gen.Bool).Sample((all, stopStrings, sizes, include) =>
        {
            (string whole, string? match) = Run(stopStrings, include, [all]);
            (string pieces, string? matchOfPieces) = Run(stopStrings, include, Cut(all, sizes));
            Assert.Equal(Oracle(all, stopStrings, include), (whole, match));
            Assert.Equal((whole, match), (pieces, matchOfPieces));
        }, iter: 20_000, threads: 1);
    }

    [Fact]
    public void Limits_AreNamed()
    {
        string[] many = [.. Enumerable.Range(0, 17).Select(i => $"s{i}")];
        Assert.Contains("16", Assert.Throws<ArgumentException>(() => new StopStringMatcher(many, false)).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new StopStringMatcher([""], false));
    }

    private static (string Text, string? Match) Run(string[] stops, bool include, IEnumerable<string> pieces)
    {
        var matcher = new StopStringMatcher(stops, include);
        var text = new StringBuilder();
        foreach (string piece in pieces)
            text.Append(matcher.Append(piece));
        return (text.Append(matcher.Flush()).ToString(), matcher.Matched);
    }

    // By definition: the first place where a stop string ends; of those that end there the one that begins first.
    private static (string Text, string? Match) Oracle(string text, string[] stops, bool include)
    {
        for (int end = 1; end <= text.Length; end++)
        {
            string? match = stops.Where(stop => text[..end].EndsWith(stop, StringComparison.Ordinal)).MaxBy(stop => stop.Length);
            if (match is not null)
                return (text[..(include ? end : end - match.Length)], match);
        }

        return (text, null);
    }

    private static IEnumerable<string> Cut(string text, int[] sizes)
    {
        for (int i = 0, piece = 0; i < text.Length; i += sizes[piece++])
            yield return text.Substring(i, Math.Min(sizes[piece], text.Length - i));
    }
}
