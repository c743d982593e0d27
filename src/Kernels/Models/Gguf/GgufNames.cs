using System.Globalization;

namespace Cluster.Kernels.Models.Gguf;

/// <summary>Where a tensor of Hugging Face's layout lies in a GGUF file.</summary>
/// <param name="Name">Name of the tensor that holds it.</param>
/// <param name="Expert">Index in a tensor that stacks all experts of a layer; -1 = the tensor is not stacked.</param>
/// <param name="Single">Name in older files, which have one tensor per expert; null = none.</param>
internal readonly record struct GgufPlace(string Name, int Expert = -1, string? Single = null)
{
    private static readonly Dictionary<string, string> Ends = new(StringComparer.Ordinal)
    {
        ["model.embed_tokens"] = "token_embd", ["model.norm"] = "output_norm", ["lm_head"] = "output",
    };

    private static readonly Dictionary<string, string> Modules = new(StringComparer.Ordinal)
    {
        ["input_layernorm"] = "attn_norm", ["post_attention_layernorm"] = "ffn_norm",
        ["self_attn.q_proj"] = "attn_q", ["self_attn.k_proj"] = "attn_k", ["self_attn.v_proj"] = "attn_v", ["self_attn.o_proj"] = "attn_output",
        ["self_attn.q_norm"] = "attn_q_norm", ["self_attn.k_norm"] = "attn_k_norm",
        ["mlp.gate_proj"] = "ffn_gate", ["mlp.up_proj"] = "ffn_up", ["mlp.down_proj"] = "ffn_down",
        ["mlp.gate"] = "ffn_gate_inp", ["block_sparse_moe.gate"] = "ffn_gate_inp", ["mlp.shared_expert_gate"] = "ffn_gate_inp_shexp",
        ["mlp.shared_expert.gate_proj"] = "ffn_gate_shexp", ["mlp.shared_expert.up_proj"] = "ffn_up_shexp", ["mlp.shared_expert.down_proj"] = "ffn_down_shexp",
    };

    private static readonly Dictionary<string, string> ExpertModules = new(StringComparer.Ordinal)
    {
        ["gate_proj"] = "ffn_gate", ["up_proj"] = "ffn_up", ["down_proj"] = "ffn_down", ["w1"] = "ffn_gate", ["w3"] = "ffn_up", ["w2"] = "ffn_down",
    };

    /// <summary>The place of <c>MODULE.weight</c> or <c>MODULE.bias</c>.</summary>
    public static GgufPlace Of(string name)
    {
        int dot = name.LastIndexOf('.');
        (string module, string kind) = (name[..dot], name[dot..]);
        if (Ends.TryGetValue(module, out string? end))
            return new GgufPlace(end + kind);
        // model.layers.N.REST
        string[] parts = module.Split('.', 4);
        string layer = $"blk.{parts[2]}";
        if (Modules.TryGetValue(parts[3], out string? plain))
            return new GgufPlace($"{layer}.{plain}{kind}");
        // BLOCK.experts.E.MODULE
        string[] expert = parts[3].Split('.');
        string stacked = ExpertModules[expert[3]];
        return new GgufPlace($"{layer}.{stacked}_exps{kind}", int.Parse(expert[2], CultureInfo.InvariantCulture), $"{layer}.{stacked}.{expert[2]}{kind}");
    }
}
