using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Cluster.Contracts;
using Cluster.Grains.Text;
using Cluster.Kernels.Models;

namespace Cluster.Grains;

/// <summary>Reads what a silo must know of a checkpoint to serve it. Of the weights only their index and some samples are read.</summary>
internal static class ServedModelReader
{
    // Every sample costs a page of the file: checkpoints with very many tensors (experts) are sampled by some of them.
    private const int MostSampledTensors = 1024;
    private const int SampleBytes = 64;

    /// <summary>Reads a checkpoint folder.</summary>
    /// <param name="folder">Folder with config.json and safetensors files.</param>
    /// <param name="name">Served name.</param>
    /// <param name="options">max-model-len and generation-config.</param>
    /// <param name="time">Clock of the declaration's date.</param>
    /// <exception cref="CheckpointFormatException">A file is missing, damaged or not supported.</exception>
    /// <exception cref="TokenizerFormatException">The tokenizer's files are damaged or not supported.</exception>
    /// <exception cref="ChatTemplateException">The chat template is not valid.</exception>
    public static ServedModel Read(string folder, string name, ClusterOptions options, TimeProvider time)
    {
        ModelConfig config = ModelConfig.Load(folder);
        (string fingerprint, long parameters) = Fingerprint(folder);
        GenerationDefaults defaults = options.GenerationConfig == "vllm"
            ? GenerationDefaults.Neutral
            : GenerationDefaults.Read(folder, config.VocabularySize);
        Tokenizer? tokenizer = Tokenizer.IsPresent(folder) ? Tokenizer.Load(folder) : null;
        return new ServedModel
        {
            Description = new ModelDescription
            {
                Name = name,
                Path = Path.GetFullPath(folder),
                Fingerprint = fingerprint,
                MaxModelLength = MaxModelLength(options.MaxModelLen, config.ContextLength),
                Architecture = config.ModelType,
                HasTokenizer = tokenizer is not null,
                Created = time.GetUtcNow().ToUnixTimeSeconds(),
                Parameters = parameters,
            },
            VocabularySize = config.VocabularySize,
            EosTokens = EndTokens(defaults, config, tokenizer),
            SamplingDefaults = defaults.Sampling,
            Tokenizer = tokenizer,
            ChatTemplate = tokenizer is null ? null : ChatTemplate.TryLoad(folder, time),
        };
    }

    // The most complete list there is: generation_config.json, else config.json, else what the tokenizer calls its end.
    private static ImmutableArray<int> EndTokens(GenerationDefaults defaults, ModelConfig config, Tokenizer? tokenizer)
    {
        if (!defaults.EndTokens.IsEmpty)
            return defaults.EndTokens;
        return config.EndTokens.Count > 0 ? [.. config.EndTokens] : [.. tokenizer?.EosTokenIds ?? []];
    }

    private static int MaxModelLength(int? asked, int context) => asked is { } length && (length < 1 || length > context)
        ? throw new CheckpointFormatException("config.json", "max-model-len", $"1..{context} (the model's context)", $"{length}")
        : asked ?? context;

    // Names, types and shapes, in the order of the names, and a few bytes of the tensors: tells checkpoints apart, also those
    // that differ in their weights only, without reading gigabytes.
    private static (string Fingerprint, long Parameters) Fingerprint(string folder)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(File.ReadAllBytes(Path.Combine(folder, "config.json")));
        long parameters = 0;
        using SafetensorsReader tensors = SafetensorsReader.Open(folder);
        string[] names = [.. tensors.Names.Order(StringComparer.Ordinal)];
        int stride = (names.Length + MostSampledTensors - 1) / MostSampledTensors;
        for (int i = 0; i < names.Length; i++)
        {
            string name = names[i];
            IReadOnlyList<long> shape = tensors.Shape(name);
            long elements = shape.Aggregate(1L, (product, size) => checked(product * size));
            parameters += elements;
            hash.AppendData(Encoding.UTF8.GetBytes($"\n{name}\n{tensors.TypeName(name)}\n{string.Join(',', shape)}"));
            if (i % stride == 0)
                hash.AppendData(tensors.Sample(name, SampleBytes));
        }

        return (Convert.ToHexStringLower(hash.GetHashAndReset()), parameters);
    }
}
