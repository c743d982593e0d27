using System.Security.Cryptography;
using System.Text;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models.Gguf;

namespace Cluster.Kernels.Models;

/// <summary>
/// A checkpoint by its path: a folder with config.json and safetensors files, a GGUF file, or a folder with exactly one GGUF file and no
/// config.json.
/// </summary>
public static class Checkpoint
{
    private const string Extension = ".gguf";

    // Every sample costs a page of the file: checkpoints with very many tensors (experts) are sampled by some of them.
    private const int MostSampledTensors = 1024;
    private const int SampleBytes = 64;

    /// <summary>The GGUF file that a path means, or null for a folder in Hugging Face's layout.</summary>
    /// <exception cref="CheckpointFormatException">The folder has several GGUF files and no config.json.</exception>
    public static string? FindGguf(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (File.Exists(path))
            return path;
        if (!Directory.Exists(path) || File.Exists(Path.Combine(path, "config.json")))
            return null;
        string[] files = [.. Directory.EnumerateFiles(path).Where(file => file.EndsWith(Extension, StringComparison.OrdinalIgnoreCase)).Order(StringComparer.Ordinal)];
        return files.Length <= 1
            ? files.FirstOrDefault()
            : throw new CheckpointFormatException(path, "weights", "one .gguf file (name it itself to choose)", $"{files.Length}: {string.Join(", ", files.Select(Path.GetFileName))}");
    }

    /// <summary>What a checkpoint holds, without its data.</summary>
    /// <exception cref="CheckpointFormatException">A file is missing or breaks a rule.</exception>
    public static CheckpointIndex ReadIndex(string path)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        return FindGguf(path) is { } file ? IndexGguf(file, hash) : IndexFolder(path, hash);
    }

    /// <summary>Opens the weights.</summary>
    internal static IWeightSource Open(string path, ModelConfig config)
    {
        if (FindGguf(path) is not { } file)
            return SafetensorsReader.Open(path);
        return new GgufWeights(GgufFile.Open(file), config);
    }

    private static CheckpointIndex IndexGguf(string path, IncrementalHash hash)
    {
        using GgufFile file = GgufFile.Open(path);
        hash.AppendData(file.Head);
        GgufTensor[] tensors = [.. file.Tensors.Values];
        for (int i = 0; i < tensors.Length; i += Stride(tensors.Length))
            hash.AppendData(file.Sample(tensors[i], SampleBytes));
        long parameters = file.Tensors.Values.Sum(tensor => Elements(tensor.Shape));
        string types = string.Join(", ", file.Tensors.Values.Where(tensor => tensor.Shape.Count > 1).GroupBy(tensor => tensor.Type).OrderByDescending(group => group.Sum(tensor => tensor.Bytes)).Select(group => group.Key));
        return new CheckpointIndex(hash.GetHashAndReset(), parameters, file.Tensors.Values.Any(tensor => tensor.Type.IsQuantized()), types);
    }

    // Names, types and shapes, in the order of the names, and a few bytes of the tensors: tells checkpoints apart, also those
    // that differ in their weights only, without reading gigabytes.
    private static CheckpointIndex IndexFolder(string folder, IncrementalHash hash)
    {
        hash.AppendData(File.ReadAllBytes(Path.Combine(folder, "config.json")));
        long parameters = 0;
        using SafetensorsReader tensors = SafetensorsReader.Open(folder);
        string[] names = [.. tensors.Names.Order(StringComparer.Ordinal)];
        for (int i = 0; i < names.Length; i++)
        {
            IReadOnlyList<long> shape = tensors.Shape(names[i]);
            parameters += Elements(shape);
            hash.AppendData(Encoding.UTF8.GetBytes($"\n{names[i]}\n{tensors.TypeName(names[i])}\n{string.Join(',', shape)}"));
            if (i % Stride(names.Length) == 0)
                hash.AppendData(tensors.Sample(names[i], SampleBytes));
        }
        string types = string.Join(", ", tensors.Names.Where(name => tensors.Shape(name).Count > 1).Select(tensors.TypeName).Distinct().Order(StringComparer.Ordinal));
        return new CheckpointIndex(hash.GetHashAndReset(), parameters, IsQuantized: false, types);
    }

    private static int Stride(int tensors) => Math.Max(1, (tensors + MostSampledTensors - 1) / MostSampledTensors);

    private static long Elements(IReadOnlyList<long> shape) => shape.Aggregate(1L, (product, size) => checked(product * size));
}

/// <summary>What a checkpoint holds.</summary>
/// <param name="Digest">SHA-256 of its configuration and of its tensors' names, types and shapes.</param>
/// <param name="Parameters">Elements of all tensors.</param>
/// <param name="IsQuantized">Whether weights are stored in blocks with common scales.</param>
/// <param name="Types">Element types of its matrices, for people.</param>
public sealed record CheckpointIndex(byte[] Digest, long Parameters, bool IsQuantized, string Types);
