using System.Text.Json;
using System.Text.Json.Serialization;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;

namespace Cluster.TestKit;

/// <summary>
/// A small checkpoint with the outputs that the reference implementation computed for it: <c>expected.json</c> (ids,
/// checksums) and <c>expected.safetensors</c> (logits, hidden states). The folders of tests/Checkpoints.
/// </summary>
public sealed class ConformanceCheckpoint : IDisposable
{
    private static readonly JsonSerializerOptions SnakeCase = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };
    private readonly SafetensorsReader _tensors;

    private ConformanceCheckpoint(string folder)
    {
        Folder = folder;
        Expected = JsonSerializer.Deserialize<ExpectedOutputs>(File.ReadAllText(Path.Combine(folder, "expected.json")), SnakeCase)!;
        _tensors = SafetensorsReader.OpenFile(Path.Combine(folder, "expected.safetensors"));
    }

    /// <summary>Names of the folders in tests/Checkpoints.</summary>
    public static IReadOnlyList<string> Names { get; } =
        ["llama", "llama31", "llama_bf16", "llama_tied", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe"];

    /// <summary>Folder of the checkpoint.</summary>
    public string Folder { get; }

    /// <summary>Contents of expected.json.</summary>
    public ExpectedOutputs Expected { get; }

    /// <summary>Opens one of <see cref="Names"/>.</summary>
    public static ConformanceCheckpoint Open(string name) => new(SharedData.InRepository("tests", "Checkpoints", name));

    /// <summary>A prompt: p1, p7, p33 or p130 (the number is its length).</summary>
    public ExpectedPrompt Prompt(string id) => Expected.Prompts.Single(prompt => prompt.Id == id);

    /// <summary>A tensor of expected.safetensors as rows of fp32.</summary>
    public float[][] Rows(string name)
    {
        HostTensor tensor = _tensors.Tensor(name);
        var rows = new float[tensor.Rows][];
        for (int row = 0; row < rows.Length; row++)
            tensor.ReadRow(row, rows[row] = new float[tensor.Columns]);
        return rows;
    }

    /// <summary>An I32 tensor of expected.safetensors.</summary>
    public unsafe int[][] IntegerRows(string name)
    {
        HostTensor tensor = _tensors.Tensor(name);
        return [.. Enumerable.Range(0, tensor.Rows).Select(row => new ReadOnlySpan<int>((int*)tensor.Pointer + row * tensor.RowStride, tensor.Columns).ToArray())];
    }

    /// <summary>Copies the checkpoint into <paramref name="folder"/> with config.v5.json (transformers 5's spelling) as its config.json.</summary>
    public void CopyWithNewConfig(string folder)
    {
        Directory.CreateDirectory(folder);
        foreach (string file in Directory.EnumerateFiles(Folder))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        File.Copy(Path.Combine(Folder, "config.v5.json"), Path.Combine(folder, "config.json"), overwrite: true);
    }

    /// <inheritdoc/>
    public void Dispose() => _tensors.Dispose();
}

/// <summary>expected.json.</summary>
public sealed record ExpectedOutputs(string Name, string ModelType, ExpectedPrompt[] Prompts, ExpectedHidden HiddenChecksums, ExpectedExperts? Moe);

/// <summary>One prompt and what the reference made of it.</summary>
/// <param name="Id">p1, p7, p33 or p130.</param>
/// <param name="Ids">Token ids.</param>
/// <param name="Greedy">The 24 tokens that greedy decoding continues with.</param>
/// <param name="Argmax">Most likely next token at every position.</param>
/// <param name="Top1Margin">How far the second one is behind, per position.</param>
public sealed record ExpectedPrompt(string Id, int[] Ids, int[] Greedy, int[] Argmax, [property: JsonPropertyName("top1_margin")] float[] Top1Margin);

/// <summary>Checksums of the residual stream of prompt p7.</summary>
public sealed record ExpectedHidden(string Prompt, Checksum Embed, Checksum[] Layers, Checksum FinalNorm);

/// <summary>Checksum of a [rows, hidden] array.</summary>
public sealed record Checksum(double Sum, [property: JsonPropertyName("l2")] double Norm, double Absmax, [property: JsonPropertyName("last_pos_first4")] float[] LastRowStart);

/// <summary>Expert choices of prompt p33, per layer.</summary>
public sealed record ExpectedExperts(string Prompt, Dictionary<string, ExpectedLayerExperts> Layers);

/// <summary>Experts of every position of one layer, by falling weight.</summary>
public sealed record ExpectedLayerExperts(int[][] ExpertIds);
