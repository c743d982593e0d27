using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Cluster.Contracts;
using Cluster.Grains.Text;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Models.Gguf;

namespace Cluster.Grains;

/// <summary>Reads what a silo must know of a checkpoint to serve it. Of the weights only their index and some samples are read.</summary>
internal static class ServedModelReader
{
    /// <summary>Reads a checkpoint folder or a GGUF file.</summary>
    /// <param name="path">Folder with config.json and safetensors files, or a GGUF file (see <see cref="Checkpoint"/>).</param>
    /// <param name="name">Served name.</param>
    /// <param name="options">max-model-len, dtype, quantization, kv-cache-dtype and generation-config.</param>
    /// <param name="time">Clock of the declaration's date.</param>
    /// <exception cref="CheckpointFormatException">A file is missing, damaged or not supported.</exception>
    /// <exception cref="TokenizerFormatException">The tokenizer's files are damaged or not supported.</exception>
    /// <exception cref="ChatTemplateException">The chat template is not valid.</exception>
    public static ServedModel Read(string path, string name, ClusterOptions options, TimeProvider time)
    {
        ModelConfig config = ModelConfig.Load(path);
        CheckpointIndex index = Checkpoint.ReadIndex(path);
        GenerationDefaults defaults = options.GenerationConfig == "vllm" || Checkpoint.FindGguf(path) is not null
            ? GenerationDefaults.Neutral
            : GenerationDefaults.Read(path, config.VocabularySize);
        (Tokenizer? tokenizer, ChatTemplate? template) = ReadText(path, time);
        return new ServedModel
        {
            Description = new ModelDescription
            {
                Name = name,
                Path = Path.GetFullPath(path),
                Fingerprint = Fingerprint(index, options),
                MaxModelLength = MaxModelLength(options.MaxModelLen, config.ContextLength),
                Architecture = config.ModelType,
                HasTokenizer = tokenizer is not null,
                Created = time.GetUtcNow().ToUnixTimeSeconds(),
                Parameters = index.Parameters,
                QueryHeads = config.QueryHeads,
                Layers = config.Layers.Count,
                Weights = options.Quantization == ClusterOptions.NoQuantization ? index.Types : options.Quantization,
            },
            VocabularySize = config.VocabularySize,
            EosTokens = EndTokens(defaults, config, tokenizer),
            SamplingDefaults = defaults.Sampling,
            Tokenizer = tokenizer,
            ChatTemplate = template,
        };
    }

    private static (Tokenizer? Tokenizer, ChatTemplate? Template) ReadText(string path, TimeProvider time)
    {
        if (Checkpoint.FindGguf(path) is { } gguf)
        {
            using GgufFile file = GgufFile.Open(gguf);
            Tokenizer? inside = Tokenizer.TryCreate(file.Fields);
            return (inside, inside is null ? null : ChatTemplate.TryCreate(file.Fields, inside.SpecialTokens, time));
        }
        return Tokenizer.IsPresent(path) ? (Tokenizer.Load(path), ChatTemplate.TryLoad(path, time)) : (null, null);
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

    // Other stored types give other tokens: they are another model under the same name. A type that the checkpoint has anyway does not.
    private static string Fingerprint(CheckpointIndex index, ClusterOptions options)
    {
        string weights = options.Dtype == TypeOf(index) ? "auto" : options.Dtype;
        string keys = options.KvCacheDtype == "float32" ? "auto" : options.KvCacheDtype;
        return Convert.ToHexStringLower((weights, options.Quantization, keys) == ("auto", ClusterOptions.NoQuantization, "auto")
            ? index.Digest
            : SHA256.HashData([.. index.Digest, .. Encoding.UTF8.GetBytes($"weights {weights}, quantization {options.Quantization}, keys {keys}")]));
    }

    // As --dtype spells it; null when the matrices are of several types or of none that it knows.
    private static string? TypeOf(CheckpointIndex index) => index.Types switch
    {
        "BF16" or nameof(DType.BFloat16) => "bfloat16",
        "F16" or nameof(DType.Float16) => "float16",
        "F32" or nameof(DType.Float32) => "float32",
        _ => null,
    };
}
