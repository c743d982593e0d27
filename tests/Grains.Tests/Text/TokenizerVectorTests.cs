using System.Text.Json;
using Cluster.Grains.Text;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Text;

/// <summary>Every published vector of the four reference tokenizers (362 encodings, 402 decodings).</summary>
public class TokenizerVectorTests
{
    public static TheoryData<string> Names => ReferenceTokenizers.Names;

    [Theory]
    [MemberData(nameof(Names))]
    public void Encode_GivesTheReferenceIds(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        var wrong = new List<string>();
        foreach (JsonElement vector in ReferenceTokenizers.Vectors(name).GetProperty("vectors").EnumerateArray())
        {
            string text = vector.GetProperty("text").GetString()!;
            int[] ids = tokenizer.Encode(text, vector.GetProperty("add_special_tokens").GetBoolean());
            int[] expected = ReferenceTokenizers.Ids(vector);
            if (!ids.SequenceEqual(expected))
                wrong.Add($"{JsonSerializer.Serialize(text)}: [{string.Join(' ', ids)}], not [{string.Join(' ', expected)}]");
        }

        Assert.Empty(wrong);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Decode_GivesTheReferenceText(string name)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        var wrong = new List<string>();
        foreach (JsonElement vector in ReferenceTokenizers.Vectors(name).GetProperty("decode").EnumerateArray())
        {
            int[] ids = ReferenceTokenizers.Ids(vector);
            string text = tokenizer.Decode(ids, vector.GetProperty("skip_special_tokens").GetBoolean());
            string expected = vector.GetProperty("text").GetString()!;
            if (text != expected)
                wrong.Add($"[{string.Join(' ', ids)}]: {JsonSerializer.Serialize(text)}, not {JsonSerializer.Serialize(expected)}");
        }

        Assert.Empty(wrong);
    }

    [Fact]
    public void VectorCount_IsWhatTheSuiteClaims()
    {
        Assert.SkipUnless(SharedData.IsPresent, SharedData.MissingReason);
        string[] names = ["gpt2", "llama3", "qwen2", "llama2_spm"];
        Assert.Equal(362, names.Sum(name => ReferenceTokenizers.Vectors(name).GetProperty("vectors").GetArrayLength()));
        Assert.Equal(402, names.Sum(name => ReferenceTokenizers.Vectors(name).GetProperty("decode").GetArrayLength()));
    }

    [Fact]
    public void SentencePieceModel_GivesTheIdsOfSentencePieceItself()
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(ReferenceTokenizers.SentencePiece);
        JsonElement[] vectors = [.. ReferenceTokenizers.Vectors("llama2_spm").GetProperty("vectors").EnumerateArray()
            .Where(vector => vector.TryGetProperty("ids_sentencepiece", out _)
                && !vector.GetProperty("text").GetString()!.Contains("<s>", StringComparison.Ordinal))];
        Assert.NotEmpty(vectors);
        Assert.All(vectors, vector => Assert.Equal(
            vector.GetProperty("ids_sentencepiece").EnumerateArray().Select(id => id.GetInt32()),
            tokenizer.Encode(vector.GetProperty("text").GetString()!, addSpecialTokens: false)));
    }

    [Theory]
    [InlineData("gpt2", 50257, 50256, 50256)]
    [InlineData("llama3", 128256, 128000, 128009)]
    [InlineData("qwen2", 151665, null, 151645)]
    [InlineData("llama2_spm", 32000, 1, 2)]
    [InlineData(ReferenceTokenizers.SentencePiece, 32000, 1, 2)]
    public void SpecialTokens_AreTheCheckpoints(string name, int size, int? bos, int eos)
    {
        Tokenizer tokenizer = ReferenceTokenizers.Get(name);
        Assert.Equal(size, tokenizer.VocabularySize);
        Assert.Equal(bos, tokenizer.BosTokenId);
        Assert.Equal([eos], tokenizer.EosTokenIds);
        Assert.True(tokenizer.IsSpecial(eos));
        Assert.False(tokenizer.IsSpecial(1000));
        Assert.Equal(eos, tokenizer.TokenId(tokenizer.SpecialTokens["eos_token"]));
    }

    [Fact]
    public void TokenBytes_AreTheExactBytesOfAPart()
    {
        Tokenizer byteLevel = ReferenceTokenizers.Get("gpt2");
        Assert.Equal([0xE6, 0x97], byteLevel.TokenBytes(33768).ToArray());
        Assert.Equal("\uFFFD", byteLevel.TokenText(33768));
        Assert.Equal(" the", byteLevel.TokenText(262));
        Tokenizer sentencePiece = ReferenceTokenizers.Get("llama2_spm");
        Assert.Equal([0xF0], sentencePiece.TokenBytes(243).ToArray());
        Assert.Equal(" Hello", sentencePiece.TokenText(15043));
        Assert.Equal("</s>", sentencePiece.TokenText(2));
        Assert.True(sentencePiece.TokenBytes(99_999).IsEmpty);
        Assert.Equal("", sentencePiece.TokenText(-1));
    }
}
