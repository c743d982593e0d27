using System.Text;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Serving;

/// <summary>A checkpoint that cannot be served ends the start with one clear line, not with a stack trace.</summary>
public sealed class BadCheckpointTests
{
    public static TheoryData<string, string> Damages => new()
    {
        { "truncated weights", "model.safetensors" },
        { "huge header", "model.safetensors" },
        { "overlapping tensors", "model.safetensors" },
        { "huge config", "hidden_size" },
        { "broken config", "config.json" },
        { "no weights", "safetensors" },
        { "unsupported architecture", "DeepseekV3" },
        { "broken tokenizer", "tokenizer.json" },
    };

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task TheStartEndsWithOneClearError(string damage, string mentions)
    {
        using var folder = new TemporaryFolder();
        string model = folder.File("model");
        Directory.CreateDirectory(model);
        foreach (string file in Directory.EnumerateFiles(SharedData.InRepository("tests", "Checkpoints", "llama")))
            File.Copy(file, Path.Combine(model, Path.GetFileName(file)));
        await DamageAsync(model, damage);

        using var silo = new SiloProcess(Silos.Program, "--model", model);
        ChildProcess process = silo.Spawn();
        Assert.Equal(1, await process.WaitForExitAsync(TimeSpan.FromSeconds(60)));
        Assert.Contains(mentions, process.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", process.Output, StringComparison.Ordinal);
    }

    private static async Task DamageAsync(string model, string damage)
    {
        string weights = Path.Combine(model, "model.safetensors");
        string config = Path.Combine(model, "config.json");
        switch (damage)
        {
            case "truncated weights":
                using (FileStream file = File.OpenWrite(weights))
                    file.SetLength(file.Length - 1000);
                break;
            case "huge header":
                using (FileStream file = File.OpenWrite(weights))
                    file.Write(BitConverter.GetBytes(long.MaxValue));
                break;
            case "overlapping tensors":
                byte[] header = Encoding.UTF8.GetBytes("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""");
                await File.WriteAllBytesAsync(weights, [.. BitConverter.GetBytes((long)header.Length), .. header, .. new byte[12]]);
                break;
            case "huge config":
                await ReplaceAsync(config, "\"hidden_size\": 72", "\"hidden_size\": 2000000000");
                break;
            case "broken config":
                await File.WriteAllTextAsync(config, "{\"model_type\": ");
                break;
            case "no weights":
                File.Delete(weights);
                break;
            case "unsupported architecture":
                await ReplaceAsync(config, "LlamaForCausalLM", "DeepseekV3ForCausalLM");
                await ReplaceAsync(config, "\"model_type\": \"llama\"", "\"model_type\": \"deepseek_v3\"");
                break;
            default:
                await File.WriteAllTextAsync(Path.Combine(model, "tokenizer.json"), """{"model":{"type":"Unigram","vocab":[]}}""");
                break;
        }
    }

    private static async Task ReplaceAsync(string file, string old, string replacement)
    {
        string text = await File.ReadAllTextAsync(file);
        Assert.Contains(old, text, StringComparison.Ordinal);
        await File.WriteAllTextAsync(file, text.Replace(old, replacement, StringComparison.Ordinal));
    }
}
