using Cluster.Contracts;
using Cluster.Grains.Text;
using Cluster.TestKit;
using Microsoft.Extensions.Time.Testing;

namespace Cluster.Grains.Tests.Text;

/// <summary>The tokenizer and the chat template of the bundled demonstration model.</summary>
public class BundledModelTextTests
{
    private static string Folder => SharedData.InRepository("models", "cluster-demo");

    [Fact]
    public void Text_RoundTripsAndStreams()
    {
        Tokenizer tokenizer = Tokenizer.Load(Folder);
        const string Text = "First Citizen: 12 apples cost $3.50, naïve 日本 👍🏽\n\nO, speak!";
        int[] ids = tokenizer.Encode(Text, addSpecialTokens: false);
        Assert.Equal(Text, tokenizer.Decode(ids, skipSpecialTokens: true));
        var detokenizer = new StreamingDetokenizer(tokenizer, skipSpecialTokens: true);
        Assert.Equal(Text, string.Concat(ids.Select(detokenizer.Append)) + detokenizer.Flush());
        Assert.NotEmpty(tokenizer.EosTokenIds);
        Assert.All(tokenizer.EosTokenIds, id => Assert.True(tokenizer.IsSpecial(id)));
    }

    [Fact]
    public void Chat_TurnsAreMarkedByKnownSpecialTokens()
    {
        Tokenizer tokenizer = Tokenizer.Load(Folder);
        string prompt = ChatTemplate.Load(Folder, new FakeTimeProvider())
            .Render([new ChatMessage { Role = "user", Content = "How many apples?" }], new ChatTemplateInput());
        Assert.Contains("How many apples?", prompt, StringComparison.Ordinal);
        int[] ids = tokenizer.Encode(prompt, addSpecialTokens: false);
        Assert.True(ids.Count(tokenizer.IsSpecial) >= 2);
        Assert.Equal(prompt, tokenizer.Decode(ids, skipSpecialTokens: false));
    }
}
