using System.Text.Json;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;

namespace Cluster.DemoModels.Gguf;

/// <summary>Turns a Hugging Face folder of a dense llama-like model with a byte-level tokenizer.json into one GGUF file.</summary>
internal sealed class GgufExport
{
    private readonly GgufWriter _writer = new();
    private readonly ModelConfig _config;
    private readonly SafetensorsReader _source;
    private readonly GgufType _type;
    private readonly string _architecture;

    private GgufExport(ModelConfig config, SafetensorsReader source, GgufType type)
    {
        (_config, _source, _type) = (config, source, type);
        _architecture = config.ModelType switch
        {
            "llama" or "mistral" => "llama",
            "qwen2" or "qwen3" => config.ModelType,
            string other => throw new ArgumentException($"GGUF export knows llama, mistral, qwen2 and qwen3, not {other}."),
        };
    }

    /// <summary>Writes one file. Matrices get the type asked for, vectors stay fp32.</summary>
    /// <exception cref="ArgumentException">The model is of another kind, or a quantised row is no multiple of 32.</exception>
    public static void Write(string folder, string output, GgufType type)
    {
        using SafetensorsReader source = SafetensorsReader.Open(folder);
        var export = new GgufExport(ModelConfig.Load(folder), source, type);
        export.AddConfig(Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder))));
        if (File.Exists(Path.Combine(folder, "tokenizer.json")))
            export.AddTokenizer(folder);
        else
            export._writer.Add("tokenizer.ggml.model", "none");   // llama.cpp refuses a file that says nothing of it
        export.AddTensors();
        export._writer.Write(output);
    }

    private void AddConfig(string name)
    {
        _writer.Add("general.architecture", _architecture);
        _writer.Add("general.name", name);
        _writer.Add("general.file_type", GgufEncoding.FileType(_type));
        _writer.Add("general.quantization_version", 2u);
        void Number(string key, int value) => _writer.Add($"{_architecture}.{key}", (uint)value);
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
        if (_config.Rope.Scaling != RopeScaling.Default)
            throw new ArgumentException($"GGUF export does not write rope scaling {_config.Rope.Scaling}.");
    }

    private void AddTokenizer(string folder)
    {
        using JsonDocument tokenizer = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "tokenizer.json")));
        using JsonDocument settings = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "tokenizer_config.json")));
        JsonElement model = tokenizer.RootElement.GetProperty("model");
        var tokens = new string[_config.VocabularySize];
        var types = new int[_config.VocabularySize];
        foreach (JsonProperty token in model.GetProperty("vocab").EnumerateObject())
            (tokens[token.Value.GetInt32()], types[token.Value.GetInt32()]) = (token.Name, 1);   // normal
        foreach (JsonElement token in tokenizer.RootElement.GetProperty("added_tokens").EnumerateArray())
            (tokens[token.GetProperty("id").GetInt32()], types[token.GetProperty("id").GetInt32()]) = (token.GetProperty("content").GetString()!, 3);   // control
        for (int id = 0; id < tokens.Length; id++)
            if (tokens[id] is null)
                (tokens[id], types[id]) = ($"[PAD{id}]", 5);   // unused
        _writer.Add("tokenizer.ggml.model", "gpt2");
        _writer.Add("tokenizer.ggml.pre", "qwen2");
        _writer.Add("tokenizer.ggml.tokens", tokens);
        _writer.Add("tokenizer.ggml.token_type", types);
        _writer.Add("tokenizer.ggml.merges", [.. model.GetProperty("merges").EnumerateArray().Select(merge => merge.ValueKind == JsonValueKind.String
            ? merge.GetString()!
            : $"{merge[0].GetString()} {merge[1].GetString()}")]);
        foreach ((string key, string setting) in ((string, string)[])[("bos", "bos_token"), ("eos", "eos_token"), ("padding", "pad_token")])
            if (settings.RootElement.TryGetProperty(setting, out JsonElement token) && Array.IndexOf(tokens, token.GetString()) is >= 0 and int id)
                _writer.Add($"tokenizer.ggml.{key}_token_id", (uint)id);
        _writer.Add("tokenizer.ggml.add_bos_token", false);
        if (settings.RootElement.TryGetProperty("chat_template", out JsonElement template))
            _writer.Add("tokenizer.chat_template", template.GetString()!);
    }

    private void AddTensors()
    {
        AddTensor("token_embd.weight", "model.embed_tokens.weight");
        AddTensor("output_norm.weight", "model.norm.weight");
        if (!_config.TiedEmbeddings)
            AddTensor("output.weight", "lm_head.weight");
        (string Ours, string Theirs, int Heads)[] parts =
        [
            ("attn_norm", "input_layernorm", 0), ("attn_q", "self_attn.q_proj", _config.QueryHeads), ("attn_k", "self_attn.k_proj", _config.KvHeads),
            ("attn_v", "self_attn.v_proj", 0), ("attn_output", "self_attn.o_proj", 0), ("attn_q_norm", "self_attn.q_norm", 0),
            ("attn_k_norm", "self_attn.k_norm", 0), ("ffn_norm", "post_attention_layernorm", 0), ("ffn_gate", "mlp.gate_proj", 0),
            ("ffn_up", "mlp.up_proj", 0), ("ffn_down", "mlp.down_proj", 0),
        ];
        for (int layer = 0; layer < _config.Layers.Count; layer++)
            foreach ((string ours, string theirs, int heads) in parts)
                foreach (string kind in (string[])["weight", "bias"])
                    AddTensor($"blk.{layer}.{ours}.{kind}", $"model.layers.{layer}.{theirs}.{kind}", _architecture == "llama" ? heads : 0);
    }

    /// <param name="name">Name in GGUF.</param>
    /// <param name="origin">Name in the checkpoint; nothing is written if it is not there.</param>
    /// <param name="heads">Heads whose rows are reordered from (i, i + half) to (2i, 2i + 1), as ggml's llama rotates; 0 = none.</param>
    private void AddTensor(string name, string origin, int heads = 0)
    {
        if (!_source.Contains(origin))
            return;
        HostTensor tensor = _source.Tensor(origin);
        if (heads > 0 && tensor.Rows == 1)
            throw new ArgumentException($"GGUF export does not write the biases of a llama's queries and keys ({origin}).");
        long[] shape = [.. _source.Shape(origin)];
        _writer.AddTensor(name, shape, shape.Length == 1 ? GgufType.F32 : _type, () =>
        {
            var values = new float[tensor.Length];
            int half = heads == 0 ? 0 : tensor.Rows / heads / 2;
            for (int row = 0; row < tensor.Rows; row++)
            {
                int place = row;
                if (half > 0)
                    place = row / (2 * half) * 2 * half + row % half * 2 + row % (2 * half) / half;
                tensor.ReadRow(row, values.AsSpan(place * tensor.Columns, tensor.Columns));
            }
            return values;
        });
    }
}
