using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;

namespace Cluster.DemoModels.Gguf;

/// <summary>Adds the tensors of a checkpoint under GGUF's names; the experts of a layer are stacked into one tensor.</summary>
internal sealed class GgufTensors(GgufWriter writer, ModelConfig config, SafetensorsReader source, GgufType type, bool isInterleaved)
{
    private static readonly (string Ours, string Theirs)[] Parts =
    [
        ("attn_norm", "input_layernorm"), ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"), ("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm"),
        ("ffn_norm", "post_attention_layernorm"), ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
        ("ffn_gate_inp", "mlp.gate"), ("ffn_gate_inp", "block_sparse_moe.gate"), ("ffn_gate_inp_shexp", "mlp.shared_expert_gate"),
        ("ffn_gate_shexp", "mlp.shared_expert.gate_proj"), ("ffn_up_shexp", "mlp.shared_expert.up_proj"), ("ffn_down_shexp", "mlp.shared_expert.down_proj"),
    ];

    private static readonly (string Ours, string Theirs)[] ExpertParts =
    [
        ("ffn_gate_exps", "mlp.experts.{0}.gate_proj"), ("ffn_up_exps", "mlp.experts.{0}.up_proj"), ("ffn_down_exps", "mlp.experts.{0}.down_proj"),
        ("ffn_gate_exps", "block_sparse_moe.experts.{0}.w1"), ("ffn_up_exps", "block_sparse_moe.experts.{0}.w3"), ("ffn_down_exps", "block_sparse_moe.experts.{0}.w2"),
    ];

    /// <summary>Adds all of them.</summary>
    public void Add()
    {
        AddPart("token_embd.weight", "model.embed_tokens.weight");
        AddPart("output_norm.weight", "model.norm.weight");
        if (!config.TiedEmbeddings)
            AddPart("output.weight", "lm_head.weight");
        for (int layer = 0; layer < config.Layers.Count; layer++)
        {
            foreach ((string ours, string theirs) in Parts)
                foreach (string kind in (string[])["weight", "bias"])
                    AddPart($"blk.{layer}.{ours}.{kind}", $"model.layers.{layer}.{theirs}.{kind}");
            foreach ((string ours, string theirs) in ExpertParts)
                AddExperts($"blk.{layer}.{ours}.weight", $"model.layers.{layer}.{theirs}.weight");
        }
    }

    // Nothing is written where the checkpoint has no such tensor.
    private void AddPart(string name, string origin)
    {
        if (!source.Contains(origin))
            return;
        bool isVector = source.Shape(origin).Count == 1 || name.Contains("ffn_gate_inp_shexp", StringComparison.Ordinal);
        bool staysWide = isVector || name.Contains("ffn_gate_inp", StringComparison.Ordinal);
        long[] shape = isVector ? [source.Tensor(origin).Length] : [.. source.Shape(origin)];
        writer.AddTensor(name, shape, staysWide ? GgufType.F32 : type, () => Values(origin));
    }

    private void AddExperts(string name, string pattern)
    {
        string Origin(int expert) => pattern.Replace("{0}", $"{expert}", StringComparison.Ordinal);
        if (config.Experts is not { } experts || !source.Contains(Origin(0)))
            return;
        long[] shape = [experts.Count, .. source.Shape(Origin(0))];
        writer.AddTensor(name, shape, type, () => [.. Enumerable.Range(0, experts.Count).SelectMany(expert => Values(Origin(expert)))]);
    }

    private float[] Values(string origin)
    {
        HostTensor tensor = source.Tensor(origin);
        var values = new float[tensor.Length];
        int rows = tensor.Rows == 1 ? tensor.Columns : tensor.Rows, width = (int)(tensor.Length / rows);
        for (int row = 0; row < tensor.Rows; row++)
            tensor.ReadRow(row, values.AsSpan(row * tensor.Columns, tensor.Columns));
        int heads = Heads(origin);
        return heads == 0 ? values : Interleave(values, rows, width, heads);
    }

    // ggml's llama rotates neighbours (2i, 2i + 1) where Hugging Face pairs (i, i + half).
    private static float[] Interleave(float[] values, int rows, int width, int heads)
    {
        var ordered = new float[values.Length];
        int half = rows / heads / 2;
        for (int row = 0; row < rows; row++)
        {
            int place = row / (2 * half) * 2 * half + row % half * 2 + row % (2 * half) / half;
            values.AsSpan(row * width, width).CopyTo(ordered.AsSpan(place * width));
        }
        return ordered;
    }

    private int Heads(string origin)
    {
        if (!isInterleaved)
            return 0;
        return origin.Contains(".q_proj.", StringComparison.Ordinal) ? config.QueryHeads
            : origin.Contains(".k_proj.", StringComparison.Ordinal) ? config.KvHeads : 0;
    }
}
