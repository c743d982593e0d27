using Cluster.Contracts;
using Cluster.Grains.Decoding;

namespace Cluster.Grains.Tests.Decoding;

public sealed class NgramProposerTests
{
    [Theory]
    [InlineData("1 2 3 4 5 9 2 3", "4 5 9", "what followed the ending")]
    [InlineData("1 2 3 7 8 2 3 4 5 2 3", "4 5 2", "the last time wins")]
    [InlineData("2 3 4 9 1 2 3 5 7 2 3", "5 7 2", "the last time wins over the first")]
    [InlineData("9 1 2 3 5 6 2 3 8 8 1 2 3", "5 6 2", "a longer ending wins over a later one")]
    [InlineData("7 7", "", "an ending of one token is too short")]
    [InlineData("7 7 7", "7 7 7", "a repetition goes on")]
    [InlineData("5 1 2 1 2", "1 2 1", "a longer repetition goes on")]
    [InlineData("1 2 3 4", "", "nothing like it")]
    [InlineData("3", "", "one token")]
    public void Guess_IsWhatFollowedTheLongestKnownEnding(string tokens, string expected, string why)
    {
        var proposer = new NgramProposer(new SpeculativeConfig { Method = SpeculativeConfig.Ngram, NumSpeculativeTokens = 3, PromptLookupMax = 3, PromptLookupMin = 2 });
        var draft = new int[3];
        int length = proposer.Guess(Numbers(tokens), draft);
        Assert.True(Numbers(expected).SequenceEqual(draft[..length]), $"{why}: [{string.Join(' ', draft[..length])}]");
    }

    private static int[] Numbers(string text) => [.. text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse)];
}
