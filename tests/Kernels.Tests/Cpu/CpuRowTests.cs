using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>Ops that treat rows by themselves: the number and the place of rows leave no trace; and what the exponential promises.</summary>
public sealed class CpuRowTests
{
    [Fact]
    public void EveryRowCount_GivesTheBitsOfOneRow()
    {
        const int Width = 200;
        float[] values = CpuBench.Values(64 * 2 * Width, 1);
        using var bench = new CpuBench(2);
        using VectorWeight norm = bench.Ops.LoadVector(bench.Tensor(CpuBench.Values(2 * Width, 2), 1));
        using LinearWeight weight = bench.Weight(CpuBench.Values(2 * Width * 48, 3), 48, DType.BFloat16, LinearRole.ColumnParallel);
        float[] All(int first, int rows)
        {
            using DeviceBuffer input = bench.Buffer(rows, 2 * Width, values[(first * 2 * Width)..((first + rows) * 2 * Width)]);
            using DeviceBuffer half = bench.Buffer(rows, Width), full = bench.Buffer(rows, 2 * Width), small = bench.Buffer(rows, 48);
            bench.Ops.GatedSilu(rows, input, half);
            bench.Ops.RmsNorm(rows, input, norm, 1e-5f, full);
            bench.Ops.NormLinear(rows, input, norm, 1e-5f, weight, small);
            bench.Ops.AddGated(rows, half, input, full);
            float[] h = bench.Read(half, rows), f = bench.Read(full, rows), s = bench.Read(small, rows);
            return [.. Enumerable.Range(0, rows).SelectMany(row => (float[])[.. h.AsSpan(row * Width, Width), .. f.AsSpan(row * 2 * Width, 2 * Width), .. s.AsSpan(row * 48, 48)])];
        }

        float[] expected = [.. Enumerable.Range(0, 64).SelectMany(row => All(row, 1))];
        int columns = expected.Length / 64;
        foreach (int rows in (int[])[2, 3, 5, 8, 9, 17, 64])
            CpuBench.AssertSameBits(expected.AsSpan(0, rows * columns), All(0, rows), $"{rows} rows");
        CpuBench.AssertSameBits(expected.AsSpan(7 * columns, 20 * columns), All(7, 20), "rows 7 to 26");
    }

    [Fact]
    public void ExpertMlp_GivesTheBitsOfOneRow()
    {
        const int Experts = 5, Hidden = 32, Intermediate = 20, Rows = 40;
        using var bench = new CpuBench(2);
        HostTensor[] Make(int rows, int columns, int seed) =>
            [.. Enumerable.Range(0, Experts).Select(e => bench.Tensor(CpuBench.Values(rows * columns, seed + e), rows))];
        using ExpertWeights experts = bench.Ops.LoadExperts(new ExpertSource(Make(Intermediate, Hidden, 10), Make(Intermediate, Hidden, 20), Make(Hidden, Intermediate, 30)));
        using ExpertRouting routing = bench.Ops.AllocateRouting(Rows, 3);
        float[] values = CpuBench.Values(Rows * Hidden, 40), router = CpuBench.Values(Rows * Experts, 41), before = CpuBench.Values(Rows * Hidden, 42);
        float[] Some(int first, int rows)
        {
            using DeviceBuffer logits = bench.Buffer(rows, Experts, router[(first * Experts)..((first + rows) * Experts)]);
            using DeviceBuffer input = bench.Buffer(rows, Hidden, values[(first * Hidden)..((first + rows) * Hidden)]);
            using DeviceBuffer output = bench.Buffer(rows, Hidden, before[(first * Hidden)..((first + rows) * Hidden)]);
            bench.Ops.RouteTopK(rows, logits, renormalise: false, routing);
            bench.Ops.ExpertMlp(rows, input, experts, routing, output);
            return bench.Read(output, rows);
        }

        float[] alone = [.. Enumerable.Range(0, Rows).SelectMany(row => Some(row, 1))];
        CpuBench.AssertSameBits(alone, Some(0, Rows), "all rows");
        CpuBench.AssertSameBits(alone.AsSpan(9 * Hidden, 13 * Hidden), Some(9, 13), "some rows");
    }

    [Fact]
    public void Routing_TakesTheLowerExpertOfATieAndSurvivesNaN()
    {
        using var bench = new CpuBench();
        using ExpertRouting routing = bench.Ops.AllocateRouting(2, 2);
        using DeviceBuffer logits = bench.Buffer(2, 4, [1, 3, 3, 3, float.NaN, float.NaN, 1, 2]);
        bench.Ops.RouteTopK(2, logits, renormalise: true, routing);
        unsafe
        {
            var chosen = (CpuRouting)routing;
            Assert.Equal([1, 2], new ReadOnlySpan<int>(chosen.Experts, 2).ToArray());
            Assert.Equal([0.5f, 0.5f], new ReadOnlySpan<float>(chosen.Factors, 2).ToArray());
            Assert.All(new ReadOnlySpan<int>(chosen.Experts + 2, 2).ToArray(), expert => Assert.InRange(expert, 0, 3));
            Assert.True(float.IsNaN(chosen.Factors[2]));
        }
    }

    [Fact]
    public void Exponential_IsWithinTwoUlpAndKeepsItsPromises()
    {
        for (float x = -87.3f; x < 88.3f; x += 0.00371f)
        {
            float expected = (float)Math.Exp(x);
            float actual = LaneMath<LanesScalar, float>.Exp(x);
            Assert.InRange(Math.Abs(BitConverter.SingleToInt32Bits(actual) - BitConverter.SingleToInt32Bits(expected)), 0, 2);
        }

        Assert.Equal(1f, LaneMath<LanesScalar, float>.Exp(0));
        Assert.Equal(1f, LaneMath<LanesScalar, float>.Exp(-0f));
        Assert.Equal(0f, LaneMath<LanesScalar, float>.Exp(float.NegativeInfinity));
        Assert.Equal(0f, LaneMath<LanesScalar, float>.Exp(-88));
        Assert.True(float.IsFinite(LaneMath<LanesScalar, float>.Exp(float.PositiveInfinity)));
        Assert.True(float.IsNaN(LaneMath<LanesScalar, float>.Exp(float.NaN)));
    }

    [Fact]
    public void BuffersTooSmall_AreRefusedWithSizes()
    {
        using var bench = new CpuBench();
        using LinearWeight weight = bench.Weight(CpuBench.Values(64, 1), 8, DType.Float32, LinearRole.ColumnParallel);
        using DeviceBuffer input = bench.Buffer(2, 8), output = bench.Buffer(2, 7);
        var failure = Assert.Throws<ArgumentException>(() => bench.Ops.Linear(2, input, weight, output));
        Assert.Contains("[2, 7]", failure.Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => bench.Ops.Linear(3, input, weight, output));
    }
}
