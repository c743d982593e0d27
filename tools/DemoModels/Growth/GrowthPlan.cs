using System.Text.Json.Nodes;

namespace Cluster.DemoModels.Growth;

/// <summary>
/// How a llama-like checkpoint grows without changing what it computes. The residual stream gets more coordinates, which stay
/// zero: nothing writes to them. Norms divide by the mean over all coordinates, so their epsilon and weights are corrected. New
/// heads, MLP columns and layers compute with random weights and are multiplied by zero on their way back into the stream.
/// </summary>
/// <param name="Hidden">Coordinates before and after.</param>
/// <param name="Intermediate">MLP columns before and after.</param>
/// <param name="Heads">Query heads before and after.</param>
/// <param name="KeyValueHeads">KV heads before and after; query heads per KV head stay as they are.</param>
/// <param name="Layers">For each layer of the grown model the layer it comes from, or null for a new one.</param>
internal sealed record GrowthPlan(
    (int Old, int New) Hidden, (int Old, int New) Intermediate, (int Old, int New) Heads, (int Old, int New) KeyValueHeads,
    IReadOnlyList<int?> Layers)
{
    /// <summary>Plans the growth of the model that a config.json describes; a size that is not given stays.</summary>
    /// <exception cref="ArgumentException">A size would shrink, or the model is of a kind that is not grown here.</exception>
    public static GrowthPlan For(JsonObject config, int? hidden, int? intermediate, int? keyValueHeads, int? layers)
    {
        string type = config["model_type"]?.GetValue<string>() ?? "";
        if (type is not ("llama" or "mistral" or "qwen3"))
            throw new ArgumentException($"Models of type llama, mistral and qwen3 grow here, not '{type}'.");
        int Old(string key) => config[key]!.GetValue<int>();
        (int, int) Grow(string key, int? wanted) => wanted is null || wanted >= Old(key)
            ? (Old(key), wanted ?? Old(key))
            : throw new ArgumentException($"{key} is {Old(key)} and cannot shrink to {wanted}.");
        (int Old, int New) kv = Grow("num_key_value_heads", keyValueHeads), depth = Grow("num_hidden_layers", layers);
        int heads = Old("num_attention_heads");
        // The old layers are spread evenly, so that any cut through the depth has old ones on both sides.
        var origins = new int?[depth.New];
        for (int layer = 0; layer < depth.Old; layer++)
            origins[(int)((long)layer * depth.New / depth.Old)] = layer;
        return new GrowthPlan(
            Grow("hidden_size", hidden), Grow("intermediate_size", intermediate), (heads, heads / kv.Old * kv.New), kv, origins);
    }

    /// <summary>What a norm weight is multiplied with: rms over more coordinates, all of them zero, is smaller by this factor.</summary>
    public float NormFactor => MathF.Sqrt((float)Hidden.Old / Hidden.New);

    /// <summary>config.json of the grown model.</summary>
    public JsonObject Apply(JsonObject config)
    {
        var grown = (JsonObject)config.DeepClone();
        grown["head_dim"] ??= Hidden.Old / Heads.Old;
        grown["hidden_size"] = Hidden.New;
        grown["intermediate_size"] = Intermediate.New;
        grown["num_attention_heads"] = Heads.New;
        grown["num_key_value_heads"] = KeyValueHeads.New;
        grown["num_hidden_layers"] = Layers.Count;
        // mean(x²) + eps keeps its ratio when the mean shrinks.
        grown["rms_norm_eps"] = config["rms_norm_eps"]!.GetValue<double>() * Hidden.Old / Hidden.New;
        if (config.ContainsKey("layer_types"))
            grown["layer_types"] = new JsonArray([.. Enumerable.Repeat("full_attention", Layers.Count).Select(name => JsonValue.Create(name))]);
        return grown;
    }
}
