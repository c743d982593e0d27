using Cluster.Grains.Text;
using Cluster.Grains.Text.Tokenization;
using Cluster.TestKit;
using CsCheck;

namespace Cluster.Grains.Tests.Text;

public class TokenizerPropertyTests
{
    // Without the normalising one (qwen2: NFC changes the text).
    public static TheoryData<string> Reversible => ["gpt2", "llama3", "llama2_spm", ReferenceTokenizers.SentencePiece];

    [Theory]
    [MemberData(nameof(Reversible))]
    public void EncodeThenDecode_GivesTheTextBack(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        // SentencePiece spells a space as U+2581, so that character itself does not come back.
        bool marksSpaces = name.StartsWith("llama2", StringComparison.Ordinal);
        RandomText.Gen.Where(text => !marksSpaces || !text.Contains('\u2581', StringComparison.Ordinal)).Sample(text =>
        {
            int[] ids = tokenizer.Encode(text, addSpecialTokens: false);
            return tokenizer.Decode(ids, skipSpecialTokens: false) == text;
        }, iter: 500, threads: 1);
    }

    [Fact]
    public void Normalization_ComposesBeforeEncoding()
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get("qwen2");
        RandomText.Gen.Sample(text =>
        {
            int[] ids = tokenizer.Encode(text, addSpecialTokens: false);
            string composed = string.Join('\uFFFE', text.Split('\uFFFE').Select(part => part.Normalize()));
            return tokenizer.Decode(ids, skipSpecialTokens: false) == composed;
        }, iter: 300, threads: 1);
    }

    [Fact]
    public void BothFilesOfOneVocabulary_Agree()
    {
        Tokenizer json = ReferenceTokenizers.Get("llama2_spm");
        Tokenizer model = ReferenceTokenizers.Get(ReferenceTokenizers.SentencePiece);
        RandomText.Gen.Sample(text =>
            json.Encode(text, addSpecialTokens: true).SequenceEqual(model.Encode(text, addSpecialTokens: true)), iter: 500, threads: 1);
    }

    [Fact]
    public void LongWords_MergeAsShortOnesDo()
    {
        // The two merging methods must agree wherever both can be used.
        Gen.Select(Gen.Int[0, 6].Array[2, 90], Gen.Int[0, 60]).Sample((symbols, seed) =>
        {
            MergeTable merges = RandomMerges(seed);
            int[] byQueue = LongWordMerger.Merge(symbols.ToArray(), merges).ToArray();
            return byQueue.SequenceEqual(MergeNaively([.. symbols], merges));
        }, iter: 2000, threads: 1);
    }

    [Theory]
    [InlineData("gpt2")]
    [InlineData("llama2_spm")]
    public void VeryLongWord_IsNotQuadratic(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        string text = new('a', 400_000);
        int[] ids = tokenizer.Encode(text, addSpecialTokens: false);
        Assert.Equal(text, tokenizer.Decode(ids, skipSpecialTokens: false));
    }

    [Fact]
    public void ParallelEncodes_EqualSerialOnes()
    {
        Assert.SkipUnless(SharedData.IsPresent, SharedData.MissingReason);
        string[] lines = [.. File.ReadLines(SharedData.Text("tinyshakespeare.txt")).Take(2000)];
        foreach (string name in (string[])["gpt2", "qwen2", "llama2_spm"])
        {
            // A fresh tokenizer, so that the threads also race for its empty word cache.
            Tokenizer tokenizer = Tokenizer.Create(ReferenceTokenizers.Files(name));
            int[][] parallel = new int[lines.Length][];
            Parallel.For(0, lines.Length, new ParallelOptions { MaxDegreeOfParallelism = 4 },
                i => parallel[i] = tokenizer.Encode(lines[i], addSpecialTokens: true));
            Tokenizer serial = ReferenceTokenizers.Get(name);
            Assert.All(lines, (line, i) => Assert.Equal(serial.Encode(line, addSpecialTokens: true), parallel[i]));
        }
    }

    [Fact]
    public void UnpairedSurrogates_CountAsReplacementCharacters()
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get("gpt2");
        Assert.Equal(tokenizer.Encode("a\uFFFDb\uFFFD", false), tokenizer.Encode("a\uD800b\uDC00", false));
    }

    private static MergeTable RandomMerges(int seed)
    {
        var random = new Random(seed);
        var merges = new MergeTable();
        for (int rank = 0; rank < 12; rank++)
            merges.Add(random.Next(7 + rank), random.Next(7 + rank), rank, 7 + rank);
        return merges;
    }

    private static List<int> MergeNaively(List<int> symbols, MergeTable merges)
    {
        while (true)
        {
            int best = -1;
            ulong bestPair = MergeTable.None;
            for (int i = 0; i + 1 < symbols.Count; i++)
            {
                ulong pair = merges.Find(symbols[i], symbols[i + 1]);
                if (pair < bestPair)
                    (best, bestPair) = (i, pair);
            }

            if (best < 0)
                return symbols;
            symbols[best] = (int)(uint)bestPair;
            symbols.RemoveAt(best + 1);
        }
    }
}
