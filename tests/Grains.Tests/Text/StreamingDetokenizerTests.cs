using System.Text;
using System.Text.Json;
using Cluster.Grains.Text;
using CsCheck;

namespace Cluster.Grains.Tests.Text;

public class StreamingDetokenizerTests
{
    private const char Replacement = '\uFFFD';

    public static TheoryData<string> Names => ReferenceTokenizers.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void EveryPrefix_ReleasesTheLongestWholeText(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        int checkedPrefixes = 0;
        string whole = "";
        foreach (JsonElement vector in ReferenceTokenizers.Vectors(name).GetProperty("decode").EnumerateArray())
        {
            if (!vector.TryGetProperty("prefix", out _))
                continue;
            int[] ids = ReferenceTokenizers.Ids(vector);
            string text = vector.GetProperty("text").GetString()!;
            // A prefix that ends inside a character decodes to U+FFFD at its end: nothing new may be released.
            if (ids.Length == 1)
                whole = "";
            if (!text.EndsWith(Replacement))
                whole = text;
            Assert.Equal(whole, Stream(tokenizer, ids, skipSpecialTokens: false, flush: false));
            checkedPrefixes++;
        }

        Assert.True(checkedPrefixes > 30);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Stream_EqualsDecode_OnEveryVector(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        foreach (JsonElement vector in ReferenceTokenizers.Vectors(name).GetProperty("decode").EnumerateArray())
        {
            bool isCut = vector.TryGetProperty("prefix", out _) && vector.GetProperty("text").GetString()!.Contains(Replacement);
            if (isCut)
                continue;
            bool skip = vector.GetProperty("skip_special_tokens").GetBoolean();
            Assert.Equal(vector.GetProperty("text").GetString(),
                Stream(tokenizer, ReferenceTokenizers.Ids(vector), skip, flush: true));
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void RandomText_StreamsBackExactly(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        RandomText.Gen.Sample(text =>
        {
            int[] ids = tokenizer.Encode(text, addSpecialTokens: false);
            return Stream(tokenizer, ids, skipSpecialTokens: false, flush: true) == tokenizer.Decode(ids, skipSpecialTokens: false);
        }, iter: 300, threads: 1);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void RandomTokens_NeverReleaseHalfACharacter(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        bool isByteLevel = !name.StartsWith("llama2", StringComparison.Ordinal);
        Gen.Int[0, Math.Min(tokenizer.VocabularySize + 10, 3000)].Array[0, 60].Sample(ids =>
        {
            var detokenizer = new StreamingDetokenizer(tokenizer, skipSpecialTokens: true);
            var text = new StringBuilder();
            foreach (int id in ids)
            {
                string released = detokenizer.Append(id);
                Assert.True(released.Length == 0 || !char.IsHighSurrogate(released[^1]));
                text.Append(released);
            }

            text.Append(detokenizer.Flush());
            if (isByteLevel)
                Assert.Equal(tokenizer.Decode(ids, skipSpecialTokens: true), text.ToString());
        }, iter: 500, threads: 1);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Restore_GoesOnExactly(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        int[] ids = tokenizer.Encode("Grüße 日本 👍🏽👨‍👩‍👧 混在 <|x|> end", addSpecialTokens: false);
        for (int cut = 0; cut <= ids.Length; cut++)
        {
            string before = Stream(tokenizer, ids[..cut], skipSpecialTokens: false, flush: false);
            var restored = new StreamingDetokenizer(tokenizer, skipSpecialTokens: false);
            restored.Restore(ids.AsSpan(0, cut));
            string after = string.Concat(ids[cut..].Select(restored.Append)) + restored.Flush();
            Assert.Equal(tokenizer.Decode(ids, skipSpecialTokens: false), before + after);
        }
    }

    [Fact]
    public void Context_KeepsTheSpaceOfTheFirstWord()
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get("llama2_spm");
        int[] ids = tokenizer.Encode("The capital of France is Paris", addSpecialTokens: true);
        Assert.Equal("Paris", new StreamingDetokenizer(tokenizer, true).Append(ids[^1]));
        Assert.Equal(" Paris", new StreamingDetokenizer(tokenizer, true, ids.AsSpan(0, ids.Length - 1)).Append(ids[^1]));
    }

    [Fact]
    public void BrokenByteRun_BecomesOneReplacementPerByte()
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get("llama2_spm");
        // F0 9F cut by a text token: as the reference decodes it.
        int[] ids = [243, 162, 15043];
        Assert.Equal("\uFFFD\uFFFD Hello", tokenizer.Decode(ids, false));
        Assert.Equal("\uFFFD\uFFFD Hello", Stream(tokenizer, ids, false, flush: true));
        // A whole character, then a broken one: what was shown stays.
        int[] later = [243, 162, 148, 144, 243, 15043];
        Assert.Equal("👍\uFFFD Hello", Stream(tokenizer, later, false, flush: true));
    }

    [Fact]
    public void SpecialTokens_AreSkippedOnlyIfAsked()
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get("qwen2");
        int end = tokenizer.EosTokenIds[0];
        Assert.Equal("", new StreamingDetokenizer(tokenizer, skipSpecialTokens: true).Append(end));
        Assert.Equal("<|im_end|>", new StreamingDetokenizer(tokenizer, skipSpecialTokens: false).Append(end));
    }

    private static string Stream(Tokenizer tokenizer, ReadOnlySpan<int> ids, bool skipSpecialTokens, bool flush)
    {
        var detokenizer = new StreamingDetokenizer(tokenizer, skipSpecialTokens);
        var text = new StringBuilder();
        foreach (int id in ids)
            text.Append(detokenizer.Append(id));
        if (flush)
            text.Append(detokenizer.Flush());
        return text.ToString();
    }
}
