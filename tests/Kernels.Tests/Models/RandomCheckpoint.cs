using System.Text.Json.Nodes;

namespace Cluster.Kernels.Tests.Models;

/// <summary>Checkpoints of random weights whose sizes align over 2, 4 and 8 ranks, with fewer KV heads than that.</summary>
internal static class RandomCheckpoint
{
    private const int Hidden = 48, Heads = 8, KvHeads = 2, HeadDim = 8, Intermediate = 96, Vocabulary = 530, Layers = 3, Experts = 6;

    /// <summary>A llama with biases everywhere, or a qwen2_moe with a shared expert.</summary>
    public static void Write(string folder, bool hasExperts)
    {
        var config = new JsonObject
        {
            ["architectures"] = new JsonArray(hasExperts ? "Qwen2MoeForCausalLM" : "LlamaForCausalLM"),
            ["model_type"] = hasExperts ? "qwen2_moe" : "llama",
            ["hidden_size"] = Hidden,
            ["num_attention_heads"] = Heads,
            ["num_key_value_heads"] = KvHeads,
            ["head_dim"] = HeadDim,
            ["intermediate_size"] = Intermediate,
            ["num_hidden_layers"] = Layers,
            ["vocab_size"] = Vocabulary,
            ["max_position_embeddings"] = 256,
            ["rms_norm_eps"] = 1e-5,
            ["hidden_act"] = "silu",
            ["tie_word_embeddings"] = false,
            ["attention_bias"] = true,
            ["mlp_bias"] = true,
        };
        if (hasExperts)
        {
            (config["num_experts"], config["num_experts_per_tok"], config["moe_intermediate_size"]) = (Experts, 2, 32);
            (config["shared_expert_intermediate_size"], config["decoder_sparse_step"], config["norm_topk_prob"]) = (64, 1, true);
            config["mlp_only_layers"] = new JsonArray(1);
        }
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        CheckpointCopy.WriteWeights(folder, Tensors(hasExperts));
    }

    private static IEnumerable<(string Name, int[] Shape, float[] Values)> Tensors(bool hasExperts)
    {
        var random = new Random(11);
        (string, int[], float[]) Tensor(string name, float scale, float offset, params int[] shape) =>
            (name, shape, [.. Enumerable.Range(0, shape.Aggregate((a, b) => a * b)).Select(_ => offset + (scale * (float)((2 * random.NextDouble()) - 1)))]);
        (string, int[], float[]) Weight(string name, int rows, int columns) => Tensor($"{name}.weight", 1.5f / MathF.Sqrt(columns), 0, rows, columns);
        yield return Tensor("model.embed_tokens.weight", 1, 0, Vocabulary, Hidden);
        yield return Weight("lm_head", Vocabulary, Hidden);
        yield return Tensor("model.norm.weight", 0.2f, 1, Hidden);
        for (int layer = 0; layer < Layers; layer++)
        {
            string prefix = $"model.layers.{layer}";
            yield return Tensor($"{prefix}.input_layernorm.weight", 0.2f, 1, Hidden);
            yield return Tensor($"{prefix}.post_attention_layernorm.weight", 0.2f, 1, Hidden);
            foreach ((string module, int heads) in ((string, int)[])[("q_proj", Heads), ("k_proj", KvHeads), ("v_proj", KvHeads)])
            {
                yield return Weight($"{prefix}.self_attn.{module}", heads * HeadDim, Hidden);
                yield return Tensor($"{prefix}.self_attn.{module}.bias", 0.5f, 0, heads * HeadDim);
            }
            yield return Weight($"{prefix}.self_attn.o_proj", Hidden, Heads * HeadDim);
            if (!hasExperts)
                yield return Tensor($"{prefix}.self_attn.o_proj.bias", 0.5f, 0, Hidden);
            IEnumerable<(string Name, int Width)> blocks = !hasExperts || layer == 1
                ? [("mlp", Intermediate)]
                : [("mlp.shared_expert", 64), .. Enumerable.Range(0, Experts).Select(expert => ($"mlp.experts.{expert}", 32))];
            foreach ((string block, int width) in blocks)
            {
                yield return Weight($"{prefix}.{block}.gate_proj", width, Hidden);
                yield return Weight($"{prefix}.{block}.up_proj", width, Hidden);
                yield return Weight($"{prefix}.{block}.down_proj", Hidden, width);
                if (hasExperts)
                    continue;
                yield return Tensor($"{prefix}.{block}.gate_proj.bias", 0.5f, 0, width);
                yield return Tensor($"{prefix}.{block}.up_proj.bias", 0.5f, 0, width);
                yield return Tensor($"{prefix}.{block}.down_proj.bias", 0.5f, 0, Hidden);
            }
            if (!hasExperts || layer == 1)
                continue;
            yield return Weight($"{prefix}.mlp.gate", Experts, Hidden);
            yield return Weight($"{prefix}.mlp.shared_expert_gate", 1, Hidden);
        }
    }
}
