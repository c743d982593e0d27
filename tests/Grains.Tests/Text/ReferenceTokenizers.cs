using System.Collections.Concurrent;
using System.IO.Compression;
using System.Text.Json;
using Cluster.Grains.Text;
using Cluster.Grains.Text.Tokenization;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Text;

/// <summary>The four reference tokenizers, each loaded once, and their vectors.</summary>
internal static class ReferenceTokenizers
{
    /// <summary>Llama 2's tokenizer.model, read without the tokenizer.json beside it.</summary>
    public const string SentencePiece = "llama2_spm/tokenizer.model";

    private static readonly ConcurrentDictionary<string, Lazy<Tokenizer>> Loaded = new();

    public static TheoryData<string> Names => ["gpt2", "llama3", "qwen2", "llama2_spm", SentencePiece];

    public static Tokenizer Get(string name)
    {
        Assert.SkipUnless(SharedData.IsPresent, SharedData.MissingReason);
        return Loaded.GetOrAdd(name, key => new Lazy<Tokenizer>(() => Tokenizer.Create(Files(key)))).Value;
    }

    public static TokenizerFiles Files(string name)
    {
        string folder = Folder(name);
        string zipped = Path.Combine(folder, "tokenizer.json.gz");
        if (name == SentencePiece)
        {
            return new TokenizerFiles
            {
                SentencePiece = File.ReadAllBytes(Path.Combine(folder, "tokenizer.model")),
                Config = File.ReadAllBytes(Path.Combine(folder, "tokenizer_config.json")),
            };
        }

        return !File.Exists(zipped) ? TokenizerFiles.Read(folder) : new TokenizerFiles
        {
            TokenizerJson = Unzip(zipped),
            Config = File.ReadAllBytes(Path.Combine(folder, "tokenizer_config.json")),
        };
    }

    public static JsonElement Vectors(string name) =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder(name), "vectors.json"))).RootElement;

    public static int[] Ids(JsonElement vector) => [.. vector.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];

    private static string Folder(string name) => SharedData.Conformance("tokenizers", name.Split('/')[0]);

    private static byte[] Unzip(string path)
    {
        using var zipped = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
        using var content = new MemoryStream();
        zipped.CopyTo(content);
        return content.ToArray();
    }
}
