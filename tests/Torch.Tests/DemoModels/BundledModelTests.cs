using Cluster.DemoModels.Text;
using Cluster.Kernels.Models;
using Cluster.TestKit;

namespace Cluster.Torch.Tests.DemoModels;

/// <summary>The checkpoints under models/ as they are served: pure C#.</summary>
public sealed class BundledModelTests
{
    /// <summary>Nats per token of a question of the trained kind; a model that knew nothing would need ln(3072) = 8.03.</summary>
    [Theory]
    [InlineData("cluster-demo", 5_000_000, 10_000_000, 4.5)]
    [InlineData("cluster-demo-draft", 800_000, 1_500_000, 6.5)]
    public async Task Model_KnowsItsText(string name, long fewest, long most, double limit)
    {
        string folder = SharedData.InRepository("models", name);
        using SafetensorsReader weights = SafetensorsReader.Open(folder);
        Assert.InRange(weights.Names.Sum(tensor => weights.Tensor(tensor).Length), fewest, most);
        Assert.Equal(
            File.ReadAllBytes(SharedData.InRepository("models", "cluster-demo", "tokenizer.json")), File.ReadAllBytes(Path.Combine(folder, "tokenizer.json")));
        int[] tokens = Chat(folder);

        float[][] logits = await DecoderProbe.LogitsAsync(folder, tokens);

        double loss = Enumerable.Range(0, tokens.Length - 1).Average(i => LogSum(logits[i]) - logits[i][tokens[i + 1]]);
        Assert.InRange(loss, 0.5, limit);
    }

    [Fact]
    public void Models_AreSmall() => Assert.InRange(
        Directory.EnumerateFiles(SharedData.InRepository("models"), "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length), 1, 25 << 20);

    private static double LogSum(float[] scores) => scores.Max() + Math.Log(scores.Sum(score => Math.Exp(score - scores.Max())));

    private static int[] Chat(string folder)
    {
        BytePairVocabulary vocabulary = TokenizerFile.Read(folder);
        List<(string?, int)> parts = Corpus.OpenChat("Tom buys 3 books for $4 each. How much money does he spend?");
        parts[^1] = ("assistant\nHe spends 3 x 4 = $12.\nThe answer is 12.", 0);
        List<int> ids = Corpus.Encode(new Document(parts), vocabulary);
        return [.. ids.SkipLast(1)];
    }
}
