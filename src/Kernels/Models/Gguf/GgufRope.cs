using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models.Gguf;

/// <summary>Reads what a GGUF file says about rotary embedding.</summary>
internal static class GgufRope
{
    private const string FactorTensor = "rope_freqs.weight";

    public static RopeSettings Read(GgufFile file, string architecture, int headDim)
    {
        GgufFields fields = file.Fields;
        string Key(string name) => $"{architecture}.rope.{name}";
        double theta = fields.Number(Key("freq_base"), 1, 1e15, 10_000);
        string kind = fields.Text(Key("scaling.type")) ?? (fields.Has(Key("scale_linear")) ? "linear" : "none");
        if (file.Tensors.TryGetValue(FactorTensor, out GgufTensor? tensor))
        {
            if (kind != "none")
                throw fields.Error(Key("scaling.type"), $"none beside {FactorTensor}", kind);
            return new RopeSettings { Theta = theta, Scaling = RopeScaling.PerDimension, Divisors = Divisors(file, tensor, headDim / 2) };
        }
        return kind switch
        {
            "none" => new RopeSettings { Theta = theta },
            "linear" => new RopeSettings
            {
                Theta = theta, Scaling = RopeScaling.Linear, Factor = Factor(fields, fields.Has(Key("scaling.factor")) ? Key("scaling.factor") : Key("scale_linear")),
            },
            "yarn" => Yarn(fields, Key, theta, architecture),
            _ => throw fields.Error(Key("scaling.type"), "none, linear or yarn", kind),
        };
    }

    private static double Factor(GgufFields fields, string key)
    {
        double factor = fields.Number(key, 0, 1 << 20, 1);
        return factor >= 1 ? factor : throw fields.Error(key, "at least 1", $"{factor}");
    }

    private static RopeSettings Yarn(GgufFields fields, Func<string, string> key, double theta, string architecture)
    {
        double factor = Factor(fields, key("scaling.factor"));
        double fast = fields.Number(key("scaling.yarn_beta_fast"), 0, 1 << 20, 32), slow = fields.Number(key("scaling.yarn_beta_slow"), 0, 1 << 20, 1);
        if (fast < slow)
            throw fields.Error(key("scaling.yarn_beta_fast"), $"at least yarn_beta_slow = {slow}", $"{fast}");
        int positions = fields.Integer($"{architecture}.context_length", 1, ModelConfigReader.MaxPositions);
        return new RopeSettings
        {
            Theta = theta,
            Scaling = RopeScaling.Yarn,
            Factor = factor,
            OriginalPositions = fields.Integer(key("scaling.original_context_length"), 1, ModelConfigReader.MaxPositions, positions),
            BetaFast = fast,
            BetaSlow = slow,
            AttentionFactor = fields.Number(key("scaling.attn_factor"), 0, 1000, 1) * RopeSettings.Sharpen(factor, 1),
        };
    }

    private static float[] Divisors(GgufFile file, GgufTensor tensor, int pairs)
    {
        if (!tensor.Shape.SequenceEqual([pairs]))
            throw new CheckpointFormatException(file.Name, $"tensor {FactorTensor}: shape", $"[{pairs}]", $"[{string.Join(", ", tensor.Shape)}]");
        var divisors = new float[pairs];
        new HostTensor(file.Address(tensor), tensor.Type, 1, pairs, pairs, FactorTensor).ReadRow(0, divisors);
        return Array.TrueForAll(divisors, divisor => float.IsFinite(divisor) && divisor > 0)
            ? divisors
            : throw new CheckpointFormatException(file.Name, $"tensor {FactorTensor}", "finite factors above 0", "others");
    }
}
