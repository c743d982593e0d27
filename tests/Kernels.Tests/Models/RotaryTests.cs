using System.Text.Json.Nodes;
using Cluster.Kernels.Models;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Models;

/// <summary>Rotary frequencies against the papers' formulas, written down here once more in double precision.</summary>
public sealed class RotaryTests : IDisposable
{
    private const int HeadDim = 64;
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Default_and_linear()
    {
        double[] plain = Plain(10_000);
        AssertClose(plain, RotaryFrequencies.Inverse(Read("""{"rope_type":"default"}"""), HeadDim));
        // Position interpolation, arXiv 2306.15595: position m acts as m / s.
        AssertClose([.. plain.Select(f => f / 2.5)], RotaryFrequencies.Inverse(Read("""{"type":"linear","factor":2.5}"""), HeadDim));
    }

    [Theory]
    [InlineData(4.0, 4096, 32.0, 1.0)]
    [InlineData(40.0, 32768, 32.0, 1.0)]
    [InlineData(2.0, 64, 16.0, 2.0)]
    public void Yarn(double factor, int original, double fast, double slow)
    {
        RopeSettings rope = Read($$"""{"rope_type":"yarn","factor":{{factor}},"original_max_position_embeddings":{{original}},"beta_fast":{{fast}},"beta_slow":{{slow}},"truncate":false}""");
        // arXiv 2309.00071, eq. 17-20 in its own terms: r(d) = L / wavelength, ramp between alpha = slow and beta = fast
        // over the dimension index (the reference implementations' choice of ramp variable).
        double Index(double turns) => HeadDim * Math.Log(original / (turns * 2 * Math.PI)) / (2 * Math.Log(10_000));
        double low = Math.Max(Index(fast), 0), high = Math.Min(Index(slow), HeadDim - 1);
        double[] expected = [.. Plain(10_000).Select((frequency, i) =>
        {
            double gamma = 1 - Math.Clamp((i - low) / (high - low), 0, 1);
            return (1 - gamma) * frequency / factor + gamma * frequency;
        })];
        AssertClose(expected, RotaryFrequencies.Inverse(rope, HeadDim));
        Assert.Equal(0.1 * Math.Log(factor) + 1, rope.AttentionFactor, 1e-12);
        // What does not turn once over the original context is interpolated fully, what turns often not at all.
        for (int i = 0; i < expected.Length; i++)
        {
            double turns = original * Plain(10_000)[i] / (2 * Math.PI);
            if (turns > fast)
                Assert.Equal(Plain(10_000)[i], expected[i], 1e-9);
            if (turns < slow)
                Assert.Equal(Plain(10_000)[i] / factor, expected[i], 1e-9);
        }
    }

    [Fact]
    public void Yarn_rounds_the_ends_of_its_ramp_unless_told_otherwise()
    {
        RopeSettings rope = Read("""{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":4096}""");
        // 64 ln(4096 / (32 * 2 pi)) / (2 ln 10000) = 10.47 -> 10; with one turn 22.51 -> 23
        double[] expected = [.. Plain(10_000).Select((frequency, i) =>
        {
            double ramp = Math.Clamp((i - 10.0) / 13, 0, 1);
            return frequency / 4 * ramp + frequency * (1 - ramp);
        })];
        AssertClose(expected, RotaryFrequencies.Inverse(rope, HeadDim));
    }

    [Fact]
    public void Llama3_keeps_short_and_stretches_long_wavelengths()
    {
        RopeSettings rope = Read("""{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192}""");
        double[] expected = [.. Plain(10_000).Select(frequency =>
        {
            double wavelength = 2 * Math.PI / frequency;
            double smooth = Math.Clamp((8192 / wavelength - 1.0) / (4.0 - 1.0), 0, 1);
            return (1 - smooth) * frequency / 8 + smooth * frequency;
        })];
        AssertClose(expected, RotaryFrequencies.Inverse(rope, HeadDim));
    }

    [Fact]
    public void Attention_factor_scales_both_tables()
    {
        RopeSettings rope = Read("""{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":4096,"attention_factor":1.25}""");
        (float[] cosines, float[] sines) = RotaryFrequencies.Tables(rope, HeadDim, 300);
        Assert.Equal(1.25, cosines[0], 1e-6);
        float[] inverse = RotaryFrequencies.Inverse(rope, HeadDim);
        for (int i = 0; i < inverse.Length; i++)
        {
            Assert.Equal(1.25 * Math.Cos(299.0 * inverse[i]), cosines[299 * inverse.Length + i], 5e-5);
            Assert.Equal(1.25 * Math.Sin(299.0 * inverse[i]), sines[299 * inverse.Length + i], 5e-5);
        }
    }

    [Theory]
    [InlineData("""{"rope_type":"default"}""", 512)]
    [InlineData("""{"type":"linear","factor":4.0}""", 2048)]
    [InlineData("""{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":512}""", 2048)]
    [InlineData("""{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":64}""", 512)]
    public void Context_length_counts_the_stretching(string scaling, int expected)
    {
        Write(scaling);
        Assert.Equal(expected, ModelConfig.Load(_folder.Path).ContextLength);
    }

    [Theory]
    [InlineData("""{"rope_type":"dynamic","factor":2.0}""", "rope_scaling.rope_type", "dynamic")]
    [InlineData("""{"type":"longrope"}""", "rope_scaling.rope_type", "longrope")]
    [InlineData("""{"rope_type":"linear"}""", "rope_scaling.factor", "missing")]
    [InlineData("""{"rope_type":"linear","factor":0.5}""", "rope_scaling.factor", "0.5")]
    [InlineData("""{"rope_type":"yarn","factor":1e400}""", "rope_scaling.factor", "1e400")]
    [InlineData("""{"rope_type":"yarn","factor":2.0,"beta_fast":1,"beta_slow":8}""", "rope_scaling.beta_fast", "1")]
    [InlineData("""{"rope_type":"llama3","factor":8.0,"low_freq_factor":4.0,"high_freq_factor":4.0,"original_max_position_embeddings":64}""", "rope_scaling.high_freq_factor", "4")]
    [InlineData("""{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0}""", "rope_scaling.original_max_position_embeddings", "missing")]
    public void Bad_scaling_is_refused_by_name(string scaling, string field, string actual)
    {
        Write(scaling);
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => ModelConfig.Load(_folder.Path));
        Assert.Equal((field, actual), (error.Field, error.Actual));
    }

    private RopeSettings Read(string scaling)
    {
        Write(scaling);
        return ModelConfig.Load(_folder.Path).Rope;
    }

    private void Write(string scaling)
    {
        JsonObject config = JsonNode.Parse(File.ReadAllText(SharedData.InRepository("tests", "Checkpoints", "llama", "config.json")))!.AsObject();
        config["rope_theta"] = 10_000;
        config["rope_scaling"] = JsonNode.Parse(scaling);
        File.WriteAllText(_folder.File("config.json"), config.ToJsonString());
    }

    private static double[] Plain(double theta) => [.. Enumerable.Range(0, HeadDim / 2).Select(i => Math.Pow(theta, -2.0 * i / HeadDim))];

    private static void AssertClose(double[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Assert.Equal(1, actual[i] / expected[i], 1e-6);
    }
}
