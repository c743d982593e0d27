using System.Text;
using System.Text.Json.Nodes;
using Cluster.Grains.Text;
using Cluster.Grains.Text.Tokenization;
using Cluster.TestKit;
using CsCheck;

namespace Cluster.Grains.Tests.Text;

/// <summary>Damaged and hostile tokenizer files: each a typed error that names file, field and value.</summary>
public class TokenizerHostileFileTests
{
    [Theory]
    [InlineData("model.vocab.a", "-1", "model.vocab[a]")]
    [InlineData("model.vocab.a", "2147483647", "model.vocab[a]")]
    [InlineData("model.vocab.a", "99999999999999999999", "model.vocab[a]")]
    [InlineData("model.vocab.a", "1.5", "model.vocab[a]")]
    [InlineData("model.vocab.a", "\"0\"", "model.vocab[a]")]
    [InlineData("model.vocab.a", "1", "model.vocab[b]")]
    [InlineData("model.vocab", "[]", "model.vocab")]
    [InlineData("model.vocab", "null", "model.vocab")]
    [InlineData("model.merges", "{}", "model.merges")]
    [InlineData("model.merges", "[7]", "model.merges[0]")]
    [InlineData("model.merges", "[\"a b c\"]", "model.merges[0]")]
    [InlineData("model.merges", "[\"a b\", \"ab\"]", "model.merges[1]")]
    [InlineData("model.merges", "[[\"a\"]]", "model.merges[0]")]
    [InlineData("model.merges", "[[\"a\", \"b\", \"c\"]]", "model.merges[0]")]
    [InlineData("model.merges", "[\"a x\"]", "model.merges[0]")]
    [InlineData("model.type", "\"Unigram\"", "model.type")]
    [InlineData("model.unk_token", "\"none\"", "model.unk_token")]
    [InlineData("model.dropout", "0.1", "model.dropout")]
    [InlineData("model.continuing_subword_prefix", "\"##\"", "model.continuing_subword_prefix")]
    [InlineData("model.byte_fallback", "\"yes\"", "model.byte_fallback")]
    [InlineData("model", "7", "model")]
    [InlineData("added_tokens", "[{\"id\": 2147483647, \"content\": \"x\"}]", "added_tokens[0].id")]
    [InlineData("added_tokens", "[{\"id\": 8, \"content\": \"\"}]", "added_tokens[0].content")]
    [InlineData("added_tokens", "[{\"id\": 8, \"content\": 7}]", "added_tokens[0].content")]
    [InlineData("added_tokens", "[{\"id\": 0, \"content\": \"x\"}]", "added token 0")]
    [InlineData("added_tokens", "[{\"id\": 8, \"content\": \"x\"}, {\"id\": 9, \"content\": \"x\"}]", "added token 9")]
    [InlineData("added_tokens", "{}", "added_tokens")]
    [InlineData("normalizer", "{\"type\": \"Precompiled\"}", "normalizer.type")]
    [InlineData("normalizer", "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"x\"}, \"content\": \"\"}", "normalizer.pattern")]
    [InlineData("normalizer", "[]", "normalizer")]
    [InlineData("pre_tokenizer", "{\"type\": \"BertPreTokenizer\"}", "pre_tokenizer.type")]
    [InlineData("pre_tokenizer", "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\"}", "pre_tokenizer.pattern.Regex")]
    [InlineData("pre_tokenizer", "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": \"Odd\"}", "pre_tokenizer.behavior")]
    [InlineData("post_processor", "{\"type\": \"BertProcessing\"}", "post_processor.type")]
    [InlineData("post_processor", "{\"type\": \"TemplateProcessing\", \"single\": []}", "post_processor.single")]
    [InlineData("decoder", "null", "decoder")]
    [InlineData("decoder", "{\"type\": \"WordPiece\"}", "decoder.type")]
    [InlineData("decoder", "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"ByteFallback\"}]}", "decoder.decoders[1].type")]
    [InlineData("decoder", "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 1}]}", "decoder.decoders[1].stop")]
    public void WrongValue_IsRefusedWithItsField(string path, string value, string field)
    {
        JsonObject json = TinyTokenizer.ByteLevel();
        Set(json, path, JsonNode.Parse(value));
        var exception = Assert.Throws<TokenizerFormatException>(() => TinyTokenizer.Create(json));
        Assert.Equal("tokenizer.json", exception.File);
        Assert.Equal(field, exception.Field);
        Assert.Contains(exception.Value, exception.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("7")]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("{\"model\": {}}")]
    [InlineData("{\"model\": {\"vocab\": {}}}")]
    [InlineData("{\"model\": {\"vocab\": {\"a\": 0, \"a\": 1}, \"merges\": []}, \"decoder\": {\"type\": \"ByteLevel\"}}")]
    [InlineData("{\"model\": {\"vocab\": {\"\\ud800\": 0}, \"merges\": []}, \"decoder\": {\"type\": \"ByteLevel\"}}")]
    public void WrongFile_IsRefused(string json) => Assert.Equal("tokenizer.json",
        Assert.Throws<TokenizerFormatException>(() => TinyTokenizer.Create(json)).File);

    [Fact]
    public void DeepNesting_IsRefused()
    {
        JsonObject json = TinyTokenizer.ByteLevel();
        JsonNode nested = new JsonObject { ["type"] = "NFC" };
        for (int i = 0; i < 20; i++)
            nested = new JsonObject { ["type"] = "Sequence", ["normalizers"] = new JsonArray(nested) };
        json["normalizer"] = nested;
        Assert.Throws<TokenizerFormatException>(() => TinyTokenizer.Create(json));
        string deep = json.ToJsonString().Replace("null", new string('[', 100_000), StringComparison.Ordinal);
        Assert.Throws<TokenizerFormatException>(() => TinyTokenizer.Create(deep));
    }

    [Fact]
    public void TruncationAtEveryByte_IsRefused()
    {
        byte[] whole = Encoding.UTF8.GetBytes(TinyTokenizer.ByteLevel().ToJsonString());
        for (int length = 0; length < whole.Length; length++)
        {
            var files = new TokenizerFiles { TokenizerJson = whole[..length] };
            Assert.Throws<TokenizerFormatException>(() => Tokenizer.Create(files));
        }
    }

    [Fact]
    public void RandomDamage_LoadsOrIsRefusedTyped()
    {
        byte[] whole = Encoding.UTF8.GetBytes(TinyTokenizer.Marked().ToJsonString());
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Byte).Array[1, 4].Sample(changes =>
        {
            byte[] damaged = [.. whole];
            foreach ((int at, byte value) in changes)
                damaged[at] = value;
            LoadOrRefuse(new TokenizerFiles { TokenizerJson = damaged });
        }, iter: 1000, threads: 1);
    }

    [Fact]
    public void RandomDamageOfASentencePieceModel_LoadsOrIsRefusedTyped()
    {
        Assert.SkipUnless(SharedData.IsPresent, SharedData.MissingReason);
        byte[] whole = ReferenceTokenizers.Files(ReferenceTokenizers.SentencePiece).SentencePiece!;
        // The pieces of a real file, cut down so that a load is quick, and its end with the settings.
        byte[] small = [.. whole[..4000], .. whole[^600..]];
        Gen.Select(Gen.Int[0, small.Length - 1], Gen.Byte).Array[0, 3].Sample(changes =>
        {
            byte[] damaged = [.. small];
            foreach ((int at, byte value) in changes)
                damaged[at] = value;
            LoadOrRefuse(new TokenizerFiles { SentencePiece = damaged });
        }, iter: 1000, threads: 1);
        for (int length = 0; length < small.Length; length += 7)
            LoadOrRefuse(new TokenizerFiles { SentencePiece = small[..length] });
    }

    [Theory]
    [InlineData(new byte[] { 0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F })]
    [InlineData(new byte[] { 0x0A, 0x80 })]
    [InlineData(new byte[] { 0x0F })]
    [InlineData(new byte[] { 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80 })]
    [InlineData(new byte[] { 0x12, 0x02, 0x18, 0x01 })]
    [InlineData(new byte[0])]
    public void HostileProtobuf_IsRefused(byte[] content) => Assert.Equal("tokenizer.model",
        Assert.Throws<TokenizerFormatException>(() => Tokenizer.Create(new TokenizerFiles { SentencePiece = content })).File);

    [Theory]
    [InlineData("""{"eos_token": 7}""", "eos_token")]
    [InlineData("""{"eos_token": {"text": "x"}}""", "eos_token.content")]
    [InlineData("""{"added_tokens_decoder": {"-1": {"content": "x"}}}""", "added_tokens_decoder.-1")]
    [InlineData("""{"added_tokens_decoder": {"7": {"content": "other"}}}""", "added token 7")]
    [InlineData("""{"added_tokens_decoder": []}""", "added_tokens_decoder")]
    [InlineData("""{"add_bos_token": "yes"}""", "add_bos_token")]
    [InlineData("[", "$")]
    [InlineData("[]", "$")]
    public void WrongConfiguration_IsRefusedWithItsField(string config, string field)
    {
        var exception = Assert.Throws<TokenizerFormatException>(() => TinyTokenizer.Create(TinyTokenizer.ByteLevel(), config));
        Assert.Equal(field, exception.Field);
    }

    [Fact]
    public void MissingFiles_AreNamed()
    {
        using var folder = new TemporaryFolder();
        Assert.False(Tokenizer.IsPresent(folder.Path));
        var exception = Assert.Throws<TokenizerFormatException>(() => Tokenizer.Load(folder.Path));
        Assert.Contains("tokenizer.json", exception.Message, StringComparison.Ordinal);
        Assert.Contains("tokenizer.model", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void HugeFile_IsRefusedBeforeItIsRead()
    {
        using var folder = new TemporaryFolder();
        using (FileStream file = File.Create(Path.Combine(folder.Path, "tokenizer.json")))
            file.SetLength(TokenizerFiles.MaxFileBytes + 1);
        var exception = Assert.Throws<TokenizerFormatException>(() => Tokenizer.Load(folder.Path));
        Assert.Contains($"{TokenizerFiles.MaxFileBytes + 1}", exception.Value, StringComparison.Ordinal);
    }

    private static void LoadOrRefuse(TokenizerFiles files)
    {
        try
        {
            Tokenizer tokenizer = Tokenizer.Create(files);
            tokenizer.Decode(tokenizer.Encode("abc ab <unk> é", addSpecialTokens: true), skipSpecialTokens: false);
        }
        catch (TokenizerFormatException)
        {
            // The one exception a file may cause.
        }
    }

    private static void Set(JsonObject json, string path, JsonNode? value)
    {
        string[] names = path.Split('.');
        JsonObject owner = names[..^1].Aggregate(json, (node, name) => (JsonObject)node[name]!);
        owner[names[^1]] = value;
    }
}
