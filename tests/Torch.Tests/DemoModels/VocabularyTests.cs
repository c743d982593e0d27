using System.Text;
using Cluster.DemoModels.Text;

namespace Cluster.Torch.Tests.DemoModels;

/// <summary>Learning and using a byte-level vocabulary. Pure C#.</summary>
public sealed class VocabularyTests
{
    private static readonly string[] Texts = ["the cat sat on the mat. the cat ate 12 apples.", "The cats' hats sat 345 times\n\nthen: naïve Ωmega 😀"];

    [Fact]
    public void Encoding_CoversEveryByte()
    {
        BytePairVocabulary vocabulary = BytePairTraining.Learn(Texts, 300);
        foreach (string text in (string[])[.. Texts, "unseen words, \u0000 and \t tabs", "日本語 mixed with ascii"])
        {
            List<int> ids = [];
            vocabulary.Encode(text, ids);
            Assert.Equal(text, vocabulary.Decode(ids));
        }
    }

    [Fact]
    public void Learning_IsDeterministic_AndMergesTheMostFrequentFirst()
    {
        BytePairVocabulary first = BytePairTraining.Learn(Texts, 300), second = BytePairTraining.Learn(Texts, 300);
        Assert.Equal(first.Merges, second.Merges);
        Assert.Equal("at", Encoding.UTF8.GetString(first.BytesOf(BytePairVocabulary.FirstByteId + 256)));   // cat, sat, mat, cat, cats, hats, sat
        Assert.True(first.Size <= 300);
    }

    [Fact]
    public void Learning_StopsWhenNoPairRepeats() => Assert.Equal(BytePairVocabulary.FirstByteId + 256, BytePairTraining.Learn(["abc"], 1000).Size);
}
