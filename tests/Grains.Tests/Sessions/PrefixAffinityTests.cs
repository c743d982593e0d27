using Cluster.Grains.Sessions;

namespace Cluster.Grains.Tests.Sessions;

public sealed class PrefixAffinityTests
{
    private static readonly int[] Prompt = [.. Enumerable.Range(0, 4 * PrefixAffinity.PieceTokens)];

    [Fact]
    public void LongestBeginning_CountsInWholePieces()
    {
        var affinity = new PrefixAffinity();
        affinity.Note("m", Prompt, "m/0");
        affinity.Note("m", Prompt.AsSpan(0, (2 * PrefixAffinity.PieceTokens) + 5), "m/1");
        IReadOnlyDictionary<string, int> matches = affinity.Match("m", Prompt);
        Assert.Equal((4 * PrefixAffinity.PieceTokens, 2 * PrefixAffinity.PieceTokens), (matches["m/0"], matches["m/1"]));
        Assert.Empty(affinity.Match("other", Prompt));
        Assert.Empty(affinity.Match("m", Prompt.AsSpan(1)));
        Assert.Empty(affinity.Match("m", Prompt.AsSpan(0, PrefixAffinity.PieceTokens - 1)));
    }

    [Fact]
    public void WhatWasNotUsedForLongest_IsForgotten()
    {
        var affinity = new PrefixAffinity(capacity: 4);
        affinity.Note("m", Prompt, "m/0");
        affinity.Note("n", Prompt.AsSpan(0, PrefixAffinity.PieceTokens), "n/0");
        Assert.Equal(PrefixAffinity.PieceTokens, affinity.Match("n", Prompt)["n/0"]);
        Assert.Empty(affinity.Match("m", Prompt));
    }
}
