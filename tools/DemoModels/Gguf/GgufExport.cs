using System.Text.Json;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;

namespace Cluster.DemoModels.Gguf;

/// <summary>Turns a Hugging Face folder of a served architecture, with a byte-level tokenizer.json if it has one, into one GGUF file.</summary>
internal sealed class GgufExport
{
    private readonly GgufWriter _writer = new();
    private readonly ModelConfig _config;
    private readonly GgufType _type;
    private readonly string _architecture;

    private GgufExport(ModelConfig config, GgufType type)
    {
        (_config, _type) = (config, type);
        _architecture = config.ModelType switch
        {
            "llama" or "mistral" or "mixtral" => "llama",
            "qwen2" or "qwen3" => config.ModelType,
            "qwen2_moe" => "qwen2moe",
            "qwen3_moe" => "qwen3moe",
            string other => throw new ArgumentException($"GGUF export does not know {other}."),
        };
    }

    /// <summary>Writes one file. Matrices get the type asked for, vectors and routers stay fp32.</summary>
    /// <exception cref="ArgumentException">The model has something GGUF cannot say, or a quantised row is no multiple of 32.</exception>
    public static void Write(string folder, string output, GgufType type)
    {
        using SafetensorsReader source = SafetensorsReader.Open(folder);
        var export = new GgufExport(ModelConfig.Load(folder), type);
        export.AddConfig(Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))));
        if (File.Exists(Path.Combine(folder, "tokenizer.json")))
            export.AddTokenizer(folder);
        else
            export._writer.Add("tokenizer.ggml.model", "none");
        new GgufTensors(export._writer, export._config, source, type, isInterleaved: export._architecture == "llama").Add();
        export._writer.Write(output);
    }

    private void AddConfig(string name)
    {
        _writer.Add("general.architecture", _architecture);
        _writer.Add("general.name", name);
        _writer.Add("general.file_type", GgufEncoding.FileType(_type));
        _writer.Add("general.quantization_version", 2u);
        Number("context_length", _config.ContextLength);
        Number("embedding_length", _config.HiddenSize);
        Number("block_count", _config.Layers.Count);
        Number("feed_forward_length", _config.IntermediateSize);
        Number("attention.head_count", _config.QueryHeads);
        Number("attention.head_count_kv", _config.KvHeads);
        Number("attention.key_length", _config.HeadDim);
        Number("attention.value_length", _config.HeadDim);
        Number("rope.dimension_count", _config.HeadDim);
        Number("vocab_size", _config.VocabularySize);
        _writer.Add($"{_architecture}.attention.layer_norm_rms_epsilon", _config.NormEpsilon);
        _writer.Add($"{_architecture}.rope.freq_base", (float)_config.Rope.Theta);
        AddWindow();
        AddExperts();
        AddRope();
    }

    private void AddWindow()
    {
        int[] windows = [.. _config.Layers.Select(layer => layer.Window).Distinct()];
        if (windows is [0])
            return;
        if (windows.Length > 1 || _architecture != "llama")
            throw new ArgumentException($"GGUF export does not write the sliding window of {_config.ModelType}.");
        Number("attention.sliding_window", windows[0]);
    }

    private void AddExperts()
    {
        if (_config.Experts is not { } experts)
            return;
        Number("expert_count", experts.Count);
        Number("expert_used_count", experts.PerToken);
        _writer.Add($"{_architecture}.expert_weights_norm", experts.Renormalise);
        if (_architecture == "llama")
            return;
        Number("expert_feed_forward_length", experts.IntermediateSize);
        if (experts.SharedIntermediateSize > 0)
            Number("expert_shared_feed_forward_length", experts.SharedIntermediateSize);
    }

    private void AddRope()
    {
        RopeSettings rope = _config.Rope;
        switch (rope.Scaling)
        {
            case RopeScaling.Default:
                break;
            case RopeScaling.Llama3:
                float[] divisors = Llama3Divisors(rope, _config.HeadDim);
                _writer.AddTensor("rope_freqs.weight", [divisors.Length], GgufType.F32, () => divisors);
                break;
            default:
                throw new ArgumentException($"GGUF export does not write rope scaling {rope.Scaling}.");
        }
    }

    // What Llama 3.1 divides each frequency by: 1 for short waves, the factor for long ones, a blend between.
    private static float[] Llama3Divisors(RopeSettings rope, int headDim)
    {
        var divisors = new float[headDim / 2];
        for (int i = 0; i < divisors.Length; i++)
        {
            double turns = rope.OriginalPositions * Math.Pow(rope.Theta, -2.0 * i / headDim) / (2 * Math.PI);
            double smooth = Math.Clamp((turns - rope.LowFrequencyFactor) / (rope.HighFrequencyFactor - rope.LowFrequencyFactor), 0, 1);
            divisors[i] = (float)(1 / ((1 - smooth) / rope.Factor + smooth));
        }
        return divisors;
    }

    private void AddTokenizer(string folder)
    {
        string json = File.ReadAllText(Path.Combine(folder, "tokenizer.json"));
        using JsonDocument tokenizer = JsonDocument.Parse(json);
        using JsonDocument settings = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "tokenizer_config.json")));
        new GgufVocabulary(_writer, _config.VocabularySize).Add(tokenizer.RootElement, settings.RootElement, "qwen2");
        // The bundled tokenizers have Qwen2's pattern without its normalisation, for which llama.cpp has no name.
        _writer.Add("tokenizer.huggingface.json", json);
    }

    private void Number(string key, int value) => _writer.Add($"{_architecture}.{key}", (uint)value);
}
