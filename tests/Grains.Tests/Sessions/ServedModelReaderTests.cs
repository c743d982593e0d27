using Cluster.Grains;
using Cluster.Kernels.Models;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Sessions;

public sealed class ServedModelReaderTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("served-model-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Checkpoint_IsDescribed()
    {
        ServedModel model = Read(Copy("llama"));
        Assert.Equal(("served", "llama", 512, 307), (model.Description.Name, model.Description.Architecture, model.Description.MaxModelLength, model.VocabularySize));
        Assert.Equal([2], model.EosTokens);
        Assert.Equal(64, model.Description.Fingerprint.Length);
        Assert.True(model.Description.Parameters > 10_000);
        Assert.Null(model.Tokenizer);
        Assert.Null(model.ChatTemplate);
    }

    [Fact]
    public void Fingerprint_DependsOnConfigurationAndTensorsOnly()
    {
        string folder = Copy("llama");
        string first = Read(folder).Description.Fingerprint;
        File.WriteAllText(Path.Combine(folder, "generation_config.json"), "{}");
        Assert.Equal(first, Read(folder).Description.Fingerprint);
        File.AppendAllText(Path.Combine(folder, "config.json"), "\n");
        Assert.NotEqual(first, Read(folder).Description.Fingerprint);
        Assert.NotEqual(first, Read(Copy("qwen2")).Description.Fingerprint);
    }

    [Fact]
    public void Fingerprint_TellsWeightsOfTheSameShapesApart()
    {
        string folder = Copy("llama"), file = Path.Combine(folder, "model.safetensors");
        string first = Read(folder).Description.Fingerprint;
        byte[] bytes = File.ReadAllBytes(file);
        int data = 8 + (int)BitConverter.ToInt64(bytes, 0);
        for (int i = data; i < bytes.Length; i++)
            bytes[i] ^= 1;
        File.WriteAllBytes(file, bytes);
        string other = Read(folder).Description.Fingerprint;
        Assert.NotEqual(first, other);
        File.SetLastWriteTimeUtc(file, DateTime.UnixEpoch);
        Assert.Equal(other, Read(folder).Description.Fingerprint);
    }

    [Fact]
    public void Fingerprint_SaysWhatIsComputedWith()
    {
        string folder = Copy("llama");
        string Of(string dtype, string quantization = "none", string keys = "auto") =>
            Read(folder, new ClusterOptions { Dtype = dtype, Quantization = quantization, KvCacheDtype = keys }).Description.Fingerprint;
        string plain = Read(folder).Description.Fingerprint;
        string[] all = [plain, Of("float16"), Of("bfloat16"), Of("float32"), Of("auto", "int8"), Of("auto", "int4"), Of("auto", keys: "bfloat16"), Of("auto", keys: "int8"), Of("float16", "int8")];
        // One of the three types is the checkpoint's own: asking for it changes nothing.
        Assert.Equal(all.Length - 1, all.Distinct().Count());
        Assert.Single(all.Skip(1), plain);
        Assert.Equal(plain, Of("auto", keys: "float32"));
    }

    [Fact]
    public void GenerationConfig_GivesDefaultsAndEndTokens()
    {
        string folder = Copy("llama", """{"temperature":0.6,"top_k":400,"top_p":0.95,"min_p":0.1,"repetition_penalty":1.2,"eos_token_id":[2,7],"do_sample":true}""");
        ServedModel model = Read(folder);
        Assert.Equal((0.6f, 400, 0.95f, 0.1f, 1.2f), Defaults(model));
        Assert.Equal([2, 7], model.EosTokens);
        ServedModel neutral = Read(folder, new ClusterOptions { GenerationConfig = "vllm" });
        Assert.Equal((1f, 0, 1f, 0f, 1f), Defaults(neutral));
        Assert.Equal([2], neutral.EosTokens);
    }

    [Theory]
    [InlineData("""{"temperature":-1}""", "temperature", "-1")]
    [InlineData("""{"temperature":1e400}""", "temperature", "1e400")]
    [InlineData("""{"temperature":"hot"}""", "temperature", "hot")]
    [InlineData("""{"top_k":2.5}""", "top_k", "2.5")]
    [InlineData("""{"top_k":99999999999}""", "top_k", "99999999999")]
    [InlineData("""{"top_p":0}""", "top_p", "0")]
    [InlineData("""{"repetition_penalty":0}""", "repetition_penalty", "0")]
    [InlineData("""{"eos_token_id":307}""", "eos_token_id", "307")]
    [InlineData("""{"eos_token_id":[1,-2]}""", "eos_token_id", "-2")]
    [InlineData("""{"eos_token_id":{}}""", "eos_token_id", "{}")]
    [InlineData("""{"eos_token_id":1,"eos_token_id":2}""", "file", "")]
    [InlineData("""[1]""", "file", "Array")]
    [InlineData("""{"temperature":NaN}""", "file", "")]
    [InlineData("", "file", "")]
    public void HostileGenerationConfig_IsATypedError(string json, string field, string actual)
    {
        string folder = Copy("llama", json);
        CheckpointFormatException refused = Assert.Throws<CheckpointFormatException>(() => Read(folder));
        Assert.Equal(("generation_config.json", field), (refused.File, refused.Field));
        Assert.Contains(actual, refused.Actual);
    }

    [Fact]
    public void MaxModelLength_IsAtMostTheContext()
    {
        string folder = Copy("llama");
        Assert.Equal(100, Read(folder, new ClusterOptions { MaxModelLen = 100 }).Description.MaxModelLength);
        CheckpointFormatException refused = Assert.Throws<CheckpointFormatException>(() => Read(folder, new ClusterOptions { MaxModelLen = 513 }));
        Assert.Contains("512", refused.Message);
        Assert.Contains("513", refused.Message);
    }

    private static (float?, int?, float?, float?, float?) Defaults(ServedModel model) => (
        model.SamplingDefaults.Temperature, model.SamplingDefaults.TopK, model.SamplingDefaults.TopP, model.SamplingDefaults.MinP, model.SamplingDefaults.RepetitionPenalty);

    private static ServedModel Read(string folder, ClusterOptions? options = null) =>
        ServedModelReader.Read(folder, "served", options ?? new ClusterOptions(), TimeProvider.System);

    private string Copy(string checkpoint, string? generationConfig = null)
    {
        string source = SharedData.InRepository("tests", "Checkpoints", checkpoint), target = Path.Combine(_folder, checkpoint);
        Directory.CreateDirectory(target);
        foreach (string file in (string[])["config.json", "model.safetensors"])
            File.Copy(Path.Combine(source, file), Path.Combine(target, file));
        if (generationConfig is not null)
            File.WriteAllText(Path.Combine(target, "generation_config.json"), generationConfig);
        return target;
    }
}
