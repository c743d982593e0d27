namespace Cluster.Kernels.Models;

/// <summary>How rotary frequencies are stretched for longer contexts.</summary>
public enum RopeScaling
{
    /// <summary>Not at all.</summary>
    Default,

    /// <summary>All frequencies divided by the factor (position interpolation, arXiv 2306.15595).</summary>
    Linear,

    /// <summary>Low frequencies divided, high ones kept, those between interpolated (Llama 3.1).</summary>
    Llama3,

    /// <summary>As Llama 3 with a ramp over dimensions, and attention made sharper (YaRN, arXiv 2309.00071).</summary>
    Yarn,

    /// <summary>Every frequency divided by a factor of its own (GGUF's <c>rope_freqs.weight</c>).</summary>
    PerDimension,
}

/// <summary>Rotary embedding of a model.</summary>
public sealed record RopeSettings
{
    /// <summary>Base of the geometric series of wavelengths.</summary>
    public required double Theta { get; init; }

    /// <summary>Kind of stretching.</summary>
    public RopeScaling Scaling { get; init; }

    /// <summary>How many times longer the context gets; 1 = not.</summary>
    public double Factor { get; init; } = 1;

    /// <summary>Context length before stretching, in tokens (Llama 3, YaRN).</summary>
    public int OriginalPositions { get; init; }

    /// <summary>Llama 3: wavelengths above original / this are stretched fully.</summary>
    public double LowFrequencyFactor { get; init; } = 1;

    /// <summary>Llama 3: wavelengths below original / this are kept.</summary>
    public double HighFrequencyFactor { get; init; } = 4;

    /// <summary>YaRN: dimensions that turn more often than this are kept.</summary>
    public double BetaFast { get; init; } = 32;

    /// <summary>YaRN: dimensions that turn less often than this are stretched fully.</summary>
    public double BetaSlow { get; init; } = 1;

    /// <summary>YaRN: whether the ramp's ends are rounded to whole dimensions.</summary>
    public bool Truncate { get; init; } = true;

    /// <summary>YaRN: factor on cosine and sine.</summary>
    public double AttentionFactor { get; init; } = 1;

    /// <summary>Per dimension: what each frequency is divided by, [headDim / 2].</summary>
    public IReadOnlyList<float> Divisors { get; init; } = [];

    /// <summary>Longest sequence with stretching, given the <c>max_position_embeddings</c> of config.json; as vLLM derives it.</summary>
    internal long ContextLength(int positions) => Scaling switch
    {
        RopeScaling.Linear => (long)(positions * Factor),
        RopeScaling.Yarn => Math.Max(positions, (long)(OriginalPositions * Factor)),
        _ => positions,
    };

    /// <summary>Reads rope_parameters (new spelling) or rope_theta and rope_scaling (old one).</summary>
    internal static RopeSettings Read(ConfigSection root, double defaultTheta, int positions)
    {
        const double MaxTheta = 1e15;
        ConfigSection? section = root.Section("rope_parameters") ?? root.Section("rope_scaling");
        double theta = root.Number("rope_theta", 1, MaxTheta, defaultTheta);
        if (section is not { } rope)
            return new RopeSettings { Theta = theta };
        theta = rope.Number("rope_theta", 1, MaxTheta, theta);
        string kind = rope.Text("rope_type") ?? rope.Text("type") ?? "default";
        return kind switch
        {
            "default" => new RopeSettings { Theta = theta },
            "linear" => new RopeSettings { Theta = theta, Scaling = RopeScaling.Linear, Factor = ReadFactor(rope) },
            "llama3" => ReadLlama3(rope, theta),
            "yarn" => ReadYarn(rope, theta, positions),
            _ => throw rope.Error("rope_type", "default, linear, llama3 or yarn", kind),
        };
    }

    private static double ReadFactor(ConfigSection rope, double? otherwise = null)
    {
        double factor = rope.Number("factor", 0, 1 << 20, otherwise);
        return factor >= 1 ? factor : throw rope.Error("factor", "at least 1", $"{factor}");
    }

    private static RopeSettings ReadLlama3(ConfigSection rope, double theta)
    {
        double low = rope.Number("low_freq_factor", 0, 1 << 20), high = rope.Number("high_freq_factor", 0, 1 << 20);
        if (high <= low)
            throw rope.Error("high_freq_factor", $"above low_freq_factor = {low}", $"{high}");
        return new RopeSettings
        {
            Theta = theta,
            Scaling = RopeScaling.Llama3,
            Factor = ReadFactor(rope),
            OriginalPositions = rope.Integer("original_max_position_embeddings", 1, 1 << 27),
            LowFrequencyFactor = low,
            HighFrequencyFactor = high,
        };
    }

    private static RopeSettings ReadYarn(ConfigSection rope, double theta, int positions)
    {
        int original = rope.Integer("original_max_position_embeddings", 1, 1 << 27, positions);
        double factor = ReadFactor(rope, Math.Max(1, (double)positions / original));
        double fast = rope.Number("beta_fast", 0, 1 << 20, 32), slow = rope.Number("beta_slow", 0, 1 << 20, 1);
        if (fast < slow)
            throw rope.Error("beta_fast", $"at least beta_slow = {slow}", $"{fast}");
        // DeepSeek's spelling of the same factor; it divides out when both are equal.
        double mscale = rope.Number("mscale", -1, 1000, 0), mscaleAll = rope.Number("mscale_all_dim", -1, 1000, 0);
        double sharper = mscale > 0 && mscaleAll > 0 ? Sharpen(factor, mscale) / Sharpen(factor, mscaleAll) : Sharpen(factor, 1);
        return new RopeSettings
        {
            Theta = theta,
            Scaling = RopeScaling.Yarn,
            Factor = factor,
            OriginalPositions = original,
            BetaFast = fast,
            BetaSlow = slow,
            Truncate = rope.Flag("truncate", true),
            AttentionFactor = rope.Number("attention_factor", 0, 1000, sharper),
        };
    }

    /// <summary>YaRN's factor on cosine and sine.</summary>
    internal static double Sharpen(double factor, double mscale) => factor <= 1 ? 1 : 0.1 * mscale * Math.Log(factor) + 1;
}
