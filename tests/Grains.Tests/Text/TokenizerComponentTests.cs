using System.Text.Json.Nodes;
using Cluster.Grains.Text;

namespace Cluster.Grains.Tests.Text;

/// <summary>The components that the reference vectors do not reach, on tokenizers small enough to follow by hand.</summary>
public class TokenizerComponentTests
{
    [Fact]
    public void ByteLevel_MergesByRankInsideWords()
    {
        Tokenizer tokenizer = TinyTokenizer.Create(TinyTokenizer.ByteLevel());
        Assert.Equal([7, 6, 5, 2], tokenizer.Encode("abc abc", addSpecialTokens: true));
        Assert.Equal([6, 7, 0], tokenizer.Encode("abc<e>a", addSpecialTokens: false));
        Assert.Equal("abc<e>a", tokenizer.Decode([6, 7, 0], skipSpecialTokens: false));
        Assert.Equal("abca", tokenizer.Decode([6, 7, 0], skipSpecialTokens: true));
        Assert.Equal("a", tokenizer.Decode([0, 99, -1], skipSpecialTokens: true));
        Assert.Equal([0], tokenizer.Encode("aé", addSpecialTokens: false));
    }

    [Fact]
    public void UnknownCharacters_AreFusedIntoOneToken()
    {
        Tokenizer tokenizer = TinyTokenizer.Create(TinyTokenizer.Marked());
        Assert.Equal([4, 3], tokenizer.Encode("ab", addSpecialTokens: false));
        Assert.Equal([1, 0, 5], tokenizer.Encode("xyzab", addSpecialTokens: false));
        Assert.Equal([1, 0, 4], tokenizer.Encode("é a", addSpecialTokens: false));
        JsonObject unfused = TinyTokenizer.Marked();
        unfused["model"]!["fuse_unk"] = false;
        Assert.Equal([1, 0, 0, 0, 5], TinyTokenizer.Create(unfused).Encode("xyzab", addSpecialTokens: false));
    }

    [Theory]
    [InlineData("""{"id": 7, "content": "<e>", "lstrip": true, "rstrip": true, "special": true}""", "a <e> b", new[] { 0, 7, 1 })]
    [InlineData("""{"id": 7, "content": "<e>", "rstrip": true, "special": true}""", "a <e> b", new[] { 0, 3, 7, 1 })]
    [InlineData("""{"id": 7, "content": "b", "single_word": true}""", "a", new[] { 0 })]
    public void AddedTokens_StripTheirSides(string token, string text, int[] ids)
    {
        JsonObject json = TinyTokenizer.ByteLevel();
        json["post_processor"] = null;
        json["added_tokens"] = new JsonArray(JsonNode.Parse(token));
        if (token.Contains("\"b\"", StringComparison.Ordinal))
            ((JsonObject)json["model"]!["vocab"]!).Remove("b");
        if (token.Contains("\"b\"", StringComparison.Ordinal))
            json["model"]!["merges"] = new JsonArray();
        Assert.Equal(ids, TinyTokenizer.Create(json).Encode(text, addSpecialTokens: false));
    }

    [Fact]
    public void SingleWordToken_NeedsToStandAlone()
    {
        JsonObject json = TinyTokenizer.ByteLevel();
        json["post_processor"] = null;
        json["added_tokens"] = JsonNode.Parse("""[{"id": 9, "content": "ca", "single_word": true}]""");
        Tokenizer tokenizer = TinyTokenizer.Create(json);
        Assert.Equal([9, 3, 2, 0, 0], tokenizer.Encode("ca caa", addSpecialTokens: false));
    }

    [Fact]
    public void LongestAddedToken_WinsAtOnePlace()
    {
        JsonObject json = TinyTokenizer.ByteLevel();
        json["post_processor"] = null;
        json["added_tokens"] = JsonNode.Parse("""[{"id": 8, "content": "<a", "special": true}, {"id": 9, "content": "<a>b", "special": true}]""");
        Tokenizer tokenizer = TinyTokenizer.Create(json);
        Assert.Equal([9, 8, 2], tokenizer.Encode("<a>b<ac", addSpecialTokens: false));
    }

    [Theory]
    [InlineData("Isolated", false, "a1b22c", "a|1|b|2|2|c")]
    [InlineData("Removed", false, "a1b22c", "a|b|c")]
    [InlineData("MergedWithPrevious", false, "a1b22c", "a1|b2|2|c")]
    [InlineData("MergedWithNext", false, "a1b22c", "a|1b|2|2c")]
    [InlineData("Contiguous", false, "a1b22c", "a|1|b|22|c")]
    [InlineData("Removed", true, "a1b22c", "1|2|2")]
    [InlineData("Isolated", false, "𝟙a𝟚", "𝟙|a|𝟚")]
    public void SplitBehaviors_AreTheLibrarys(string behavior, bool invert, string text, string pieces)
    {
        string field = $$"""{"type": "Split", "pattern": {"Regex": "\\p{N}"}, "behavior": "{{behavior}}", "invert": {{(invert ? "true" : "false")}}}""";
        Assert.Equal(pieces, string.Join('|', Pieces(field, text)));
    }

    [Theory]
    [InlineData("""{"type": "Digits", "individual_digits": true}""", "a12", "a|1|2")]
    [InlineData("""{"type": "Digits", "individual_digits": false}""", "a12", "a|12")]
    [InlineData("""{"type": "Punctuation", "behavior": "Isolated"}""", "a.,b", "a|.|,|b")]
    [InlineData("""{"type": "WhitespaceSplit"}""", " a  b ", "a|b")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}""", "a b", "▁a|▁b")]
    [InlineData("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false}""", "a b", "a▁b")]
    [InlineData("""{"type": "Split", "pattern": {"String": "."}, "behavior": "Removed", "invert": false}""", "a.b", "a|b")]
    public void Pretokenizers_CutAsTheLibraryDoes(string field, string text, string pieces) =>
        Assert.Equal(pieces, string.Join('|', Pieces(field, text)));

    [Fact]
    public void Metaspace_RoundTrips()
    {
        JsonObject json = TinyTokenizer.Marked();
        json["normalizer"] = null;
        json["pre_tokenizer"] = JsonNode.Parse("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}""");
        json["decoder"] = JsonNode.Parse("""{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false}""");
        Tokenizer tokenizer = TinyTokenizer.Create(json);
        Assert.Equal([4, 3, 4, 0, 2], tokenizer.Encode("ab a<unk>a", addSpecialTokens: false));
        Assert.Equal("ab a", tokenizer.Decode([4, 3, 4], skipSpecialTokens: false));
    }

    [Fact]
    public void ConfigurationFlags_WinInLlamasFamilyOnly()
    {
        JsonObject json = TinyTokenizer.ByteLevel();
        const string Flags = "\"bos_token\": \"<e>\", \"eos_token\": \"<e>\", \"add_bos_token\": false, \"add_eos_token\": true";
        Assert.Equal([0, 7], TinyTokenizer.Create(json, $$"""{"tokenizer_class": "LlamaTokenizerFast", {{Flags}}}""").Encode("a", true));
        Assert.Equal([7, 0], TinyTokenizer.Create(json, $$"""{"tokenizer_class": "PreTrainedTokenizerFast", {{Flags}}}""").Encode("a", true));
    }

    [Fact]
    public void ConfiguredAddedTokens_JoinThoseOfTheFile()
    {
        Tokenizer tokenizer = TinyTokenizer.Create(TinyTokenizer.ByteLevel(),
            """{"added_tokens_decoder": {"7": {"content": "<e>", "special": true}, "9": {"content": "<t>"}}, "eos_token": {"content": "<t>"}}""");
        Assert.Equal([9], tokenizer.Encode("<t>", addSpecialTokens: false));
        Assert.Equal([9], tokenizer.EosTokenIds);
        Assert.Equal(10, tokenizer.VocabularySize);
        Assert.True(tokenizer.IsSpecial(9));
    }

    [Fact]
    public void ByteOrderMark_IsAllowed() =>
        Assert.Equal([6], TinyTokenizer.Create("\uFEFF" + TinyTokenizer.ByteLevel().ToJsonString()).Encode("abc", false));

    private static IEnumerable<string> Pieces(string field, string text)
    {
        var root = new Cluster.Grains.Text.Tokenization.JsonField("test", "pre_tokenizer", System.Text.Json.JsonDocument.Parse(field).RootElement);
        var words = new Cluster.Grains.Text.Tokenization.PretokenizedText(text, startsInput: true);
        foreach (Cluster.Grains.Text.Tokenization.IPretokenizer step in Cluster.Grains.Text.Tokenization.PretokenizerReader.Read(root).Steps)
            step.Apply(words);
        return words.Pieces.Select(piece => words.Text(piece).ToString());
    }
}
