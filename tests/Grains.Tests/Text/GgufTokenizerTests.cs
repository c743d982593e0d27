using System.Collections.Concurrent;
using System.Text.Json;
using Cluster.DemoModels.Gguf;
using Cluster.Grains.Text;
using Cluster.Grains.Text.Tokenization;
using Cluster.Kernels.Models.Gguf;
using Cluster.TestKit;
using CsCheck;
using Microsoft.Extensions.Time.Testing;

namespace Cluster.Grains.Tests.Text;

/// <summary>Tokenizers that went through GGUF's fields give the same tokens and texts as the files they came from.</summary>
public sealed class GgufTokenizerTests : IDisposable
{
    private static readonly ConcurrentDictionary<string, Lazy<Tokenizer>> Loaded = new();

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Names => ["gpt2", "llama3", "qwen2", "llama2_spm"];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public void Encode_GivesTheReferenceIds(string name)
    {
        Tokenizer tokenizer = Get(name);
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
        Tokenizer tokenizer = Get(name);
        var wrong = new List<string>();
        foreach (JsonElement vector in ReferenceTokenizers.Vectors(name).GetProperty("decode").EnumerateArray())
        {
            int[] ids = ReferenceTokenizers.Ids(vector);
            string text = tokenizer.Decode(ids, vector.GetProperty("skip_special_tokens").GetBoolean());
            if (text != vector.GetProperty("text").GetString()!)
                wrong.Add($"[{string.Join(' ', ids)}]: {JsonSerializer.Serialize(text)}, not {JsonSerializer.Serialize(vector.GetProperty("text").GetString())}");
        }

        Assert.Empty(wrong);
    }

    [Fact]
    public void BundledModel_KeepsItsTokensAndTemplate()
    {
        string bundled = SharedData.InRepository("models", "cluster-demo");
        string path = Path.Combine(_folder.Path, "model.gguf");
        GgufExports.Write(bundled, path, "BF16");
        using GgufFile file = GgufFile.Open(path);
        Tokenizer expected = Tokenizer.Load(bundled), actual = Tokenizer.TryCreate(file.Fields)!;
        RandomText.Gen.Sample(text =>
        {
            int[] ids = expected.Encode(text + "<|im_start|>user\n", addSpecialTokens: true);
            Assert.Equal(ids, actual.Encode(text + "<|im_start|>user\n", addSpecialTokens: true));
            Assert.Equal(expected.Decode(ids, skipSpecialTokens: true), actual.Decode(ids, skipSpecialTokens: true));
        }, iter: 300, threads: 1);
        Assert.Equal(expected.EosTokenIds, actual.EosTokenIds);
        var conversation = new ChatConversation { Messages = JsonDocument.Parse("""[{"role":"user","content":"How many?"}]""").RootElement, AddGenerationPrompt = true };
        var time = new FakeTimeProvider();
        Assert.Equal(ChatTemplate.Load(bundled, time).Render(conversation), ChatTemplate.TryCreate(file.Fields, actual.SpecialTokens, time)!.Render(conversation));
    }

    /// <summary>Without the whole tokenizer.json, the vocabulary alone says the same of composed text.</summary>
    [Fact]
    public void BundledModel_KeepsItsTokensInTheVocabularyAlone()
    {
        string bundled = SharedData.InRepository("models", "cluster-demo");
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(bundled, "tokenizer.json")));
        using JsonDocument settings = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(bundled, "tokenizer_config.json")));
        Tokenizer expected = Tokenizer.Load(bundled);
        using GgufFile file = Write(writer => new GgufVocabulary(writer, expected.VocabularySize).Add(json.RootElement, settings.RootElement, "qwen2"));
        Tokenizer actual = Tokenizer.TryCreate(file.Fields)!;
        foreach (string text in (string[])["Tom has 3 apples.\n\n", "<|im_start|>user\n'LL 12345  x", "h\u00E4h \u65E5\u672C"])
            Assert.Equal(expected.Encode(text, addSpecialTokens: true), actual.Encode(text, addSpecialTokens: true));
    }

    public static TheoryData<string, string> Broken => new()
    {
        { "model", "must be gpt2" }, { "pre", "must be one of" }, { "no tokens", "tokenizer.ggml.tokens is missing" }, { "types", "as many as tokens" }, { "type", "from 1 to 6" },
        { "merge", "must speak of tokens" }, { "space", "one space between" }, { "eos", "0..2" }, { "twice", "is there twice" }, { "scores", "tokenizer.ggml.scores" }, { "unknown", "must have one" },
    };

    [Theory]
    [MemberData(nameof(Broken))]
    public void WhatIsWrong_IsNamed(string damage, string mentions)
    {
        using GgufFile file = Write(writer => WriteBroken(writer, damage));
        var exception = Assert.Throws<TokenizerFormatException>(() => Tokenizer.TryCreate(file.Fields));
        Assert.Contains(mentions, exception.Message);
        Assert.Equal("model.gguf", exception.File);
    }

    [Fact]
    public void WithoutVocabulary_ThereIsNoTokenizer()
    {
        using GgufFile none = Write(writer => writer.Add("tokenizer.ggml.model", "none")), silent = Write(_ => { });
        Assert.Null(Tokenizer.TryCreate(none.Fields));
        Assert.Null(Tokenizer.TryCreate(silent.Fields));
    }

    private static void WriteBroken(GgufWriter writer, string damage)
    {
        string[] tokens = damage == "twice" ? ["a", "b", "a"] : ["a", "b", "ab"];
        writer.Add("tokenizer.ggml.model", damage switch { "model" => "bert", "scores" or "unknown" => "llama", _ => "gpt2" });
        writer.Add("tokenizer.ggml.pre", damage == "pre" ? "unheard-of" : "gpt-2");
        if (damage != "no tokens")
            writer.Add("tokenizer.ggml.tokens", tokens);
        writer.Add("tokenizer.ggml.token_type", damage switch { "types" => [1, 1], "type" => [1, 1, 7], _ => (int[])[1, 1, 1] });
        writer.Add("tokenizer.ggml.merges", damage switch { "merge" => ["b a"], "space" => ["ab"], _ => (string[])["a b"] });
        if (damage == "unknown")
            writer.Add("tokenizer.ggml.scores", (float[])[0, 0, -1]);
        writer.Add("tokenizer.ggml.eos_token_id", damage == "eos" ? 3u : 2u);
    }

    private Tokenizer Get(string name)
    {
        Assert.SkipUnless(SharedData.IsPresent, SharedData.MissingReason);
        return Loaded.GetOrAdd(name, key => new Lazy<Tokenizer>(() =>
        {
            using GgufFile file = Write(writer => WriteReference(writer, key));
            return Tokenizer.TryCreate(file.Fields)!;
        })).Value;
    }

    private static void WriteReference(GgufWriter writer, string name)
    {
        if (name == "llama2_spm")
        {
            WriteSentencePiece(writer);
            return;
        }

        TokenizerFiles files = ReferenceTokenizers.Files(name);
        using JsonDocument tokenizer = JsonDocument.Parse(files.TokenizerJson), settings = JsonDocument.Parse(files.Config);
        int size = tokenizer.RootElement.GetProperty("model").GetProperty("vocab").EnumerateObject().Max(token => token.Value.GetInt32());
        size = Math.Max(size, tokenizer.RootElement.GetProperty("added_tokens").EnumerateArray().Max(token => token.GetProperty("id").GetInt32())) + 1;
        string pretokenizer = name switch { "gpt2" => "gpt-2", "llama3" => "llama-bpe", _ => name };
        new GgufVocabulary(writer, size).Add(tokenizer.RootElement, settings.RootElement, pretokenizer);
    }

    private static void WriteSentencePiece(GgufWriter writer)
    {
        SentencePieceFile file = SentencePieceFile.Read(ReferenceTokenizers.Files(ReferenceTokenizers.SentencePiece).SentencePiece!);
        writer.Add("tokenizer.ggml.model", "llama");
        writer.Add("tokenizer.ggml.tokens", [.. file.Pieces.Select(piece => piece.Text)]);
        writer.Add("tokenizer.ggml.scores", [.. file.Pieces.Select(piece => piece.Score)]);
        writer.Add("tokenizer.ggml.token_type", [.. file.Pieces.Select(piece => (int)piece.Type)]);
        writer.Add("tokenizer.ggml.bos_token_id", 1u);
        writer.Add("tokenizer.ggml.eos_token_id", 2u);
    }

    private GgufFile Write(Action<GgufWriter> fill)
    {
        var writer = new GgufWriter();
        fill(writer);
        string path = Path.Combine(Directory.CreateDirectory(Path.Combine(_folder.Path, Path.GetRandomFileName())).FullName, "model.gguf");
        writer.Write(path);
        return GgufFile.Open(path);
    }
}
