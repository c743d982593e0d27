using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>Linear layers against a scalar loop, bit by bit, on every path.</summary>
public sealed class CpuLinearTests
{
    private static readonly int[] RowCounts = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 64];

    public static TheoryData<DType, LinearRole, int, int> Shapes
    {
        get
        {
            var data = new TheoryData<DType, LinearRole, int, int>();
            foreach (DType type in (DType[])[DType.Float32, DType.BFloat16, DType.Float16])
            {
                foreach (LinearRole role in Enum.GetValues<LinearRole>())
                {
                    data.Add(type, role, 64, 48);
                    data.Add(type, role, 130, 37);
                    data.Add(type, role, 9, 5);
                    data.Add(type, role, 1, 17);
                    data.Add(type, role, 513, 200);
                }
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void EveryPathAndRowCount_EqualsTheScalarLoop(DType type, LinearRole role, int inputs, int outputs)
    {
        float[] weights = CpuBench.Values(inputs * outputs, 1);
        float[] bias = CpuBench.Values(outputs, 2);
        float[] x = CpuBench.Values(64 * inputs, 3);
        float[] expected = Reference(x, 64, weights, outputs, type, role, bias);
        foreach (CpuPath path in CpuBench.Paths)
        {
            using var bench = new CpuBench(1, path);
            using LinearWeight weight = bench.Weight(weights, outputs, type, role, bias);
            foreach (int rows in RowCounts)
                CpuBench.AssertSameBits(expected.AsSpan(0, rows * outputs), bench.Linear(x[..(rows * inputs)], rows, weight), $"{path}, {rows} rows");
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void ThreadCount_ChangesNoBit(int threads)
    {
        const int Inputs = 512, Outputs = 500;
        float[] weights = CpuBench.Values(Inputs * Outputs, 4);
        float[] x = CpuBench.Values(130 * Inputs, 5);
        foreach (LinearRole role in Enum.GetValues<LinearRole>())
        {
            float[] expected = Reference(x, 130, weights, Outputs, DType.BFloat16, role, null);
            using var bench = new CpuBench(threads);
            using LinearWeight weight = bench.Weight(weights, Outputs, DType.BFloat16, role);
            foreach (int rows in (int[])[1, 2, 5, 8, 17, 130])
                CpuBench.AssertSameBits(expected.AsSpan(0, rows * Outputs), bench.Linear(x[..(rows * Inputs)], rows, weight), $"{threads} threads, {rows} rows");
        }
    }

    [Fact]
    public void LongK_IsCutWithoutATrace()
    {
        const int Inputs = 4 * 2048 + 6, Outputs = 40;
        float[] weights = CpuBench.Values(Inputs * Outputs, 6);
        float[] x = CpuBench.Values(11 * Inputs, 7);
        using var bench = new CpuBench(2);
        foreach (LinearRole role in Enum.GetValues<LinearRole>())
        {
            float[] expected = Reference(x, 11, weights, Outputs, DType.Float32, role, null);
            using LinearWeight weight = bench.Weight(weights, Outputs, DType.Float32, role);
            CpuBench.AssertSameBits(expected, bench.Linear(x, 11, weight), role.ToString());
            CpuBench.AssertSameBits(expected.AsSpan(0, Outputs), bench.Linear(x[..Inputs], 1, weight), role.ToString());
        }
    }

    [Fact]
    public void RowPlacement_ChangesNoBit()
    {
        const int Inputs = 96, Outputs = 80;
        using var bench = new CpuBench(2);
        using LinearWeight weight = bench.Weight(CpuBench.Values(Inputs * Outputs, 8), Outputs, DType.BFloat16, LinearRole.RowParallel);
        float[] pool = CpuBench.Values(40 * Inputs, 9);
        float[] alone = [.. Enumerable.Range(0, 40).SelectMany(row => bench.Linear(pool[(row * Inputs)..((row + 1) * Inputs)], 1, weight))];
        var random = new Random(10);
        for (int round = 0; round < 50; round++)
        {
            int[] rows = [.. Enumerable.Range(0, random.Next(1, 24)).Select(_ => random.Next(40))];
            float[] mixed = bench.Linear([.. rows.SelectMany(row => pool[(row * Inputs)..((row + 1) * Inputs)])], rows.Length, weight);
            for (int i = 0; i < rows.Length; i++)
                CpuBench.AssertSameBits(alone.AsSpan(rows[i] * Outputs, Outputs), mixed.AsSpan(i * Outputs, Outputs), $"row {rows[i]} at {i} of {rows.Length}");
        }
    }

    [Fact]
    public void RanksOfARowParallelLinear_ContinueTheSameTree()
    {
        const int Inputs = 256, Outputs = 32;
        float[] weights = CpuBench.Values(Inputs * Outputs, 11);
        float[] x = CpuBench.Values(Inputs, 12);
        using var bench = new CpuBench(2);
        HostTensor tensor = bench.Tensor(weights, Outputs);
        using LinearWeight whole = bench.Ops.LoadLinear(new LinearSource([tensor], [], LinearRole.RowParallel));
        var parts = new float[8][];
        for (int s = 0; s < 8; s++)
        {
            using LinearWeight part = bench.Ops.LoadLinear(new LinearSource([tensor.ColumnRange(s * 32, 32)], [], LinearRole.ColumnParallel));
            parts[s] = bench.Linear(x[(s * 32)..((s + 1) * 32)], 1, part);
        }

        var merged = new float[Outputs];
        for (int n = 0; n < Outputs; n++)
            merged[n] = parts[0][n] + parts[1][n] + (parts[2][n] + parts[3][n]) + (parts[4][n] + parts[5][n] + (parts[6][n] + parts[7][n]));
        CpuBench.AssertSameBits(merged, bench.Linear(x, 1, whole), "tree over ranks");
    }

    [Fact]
    public void Add_AddsAfterTheSum()
    {
        const int Inputs = 70, Outputs = 33, Rows = 3;
        float[] weights = CpuBench.Values(Inputs * Outputs, 13), x = CpuBench.Values(Rows * Inputs, 14), before = CpuBench.Values(Rows * Outputs, 15);
        float[] expected = Reference(x, Rows, weights, Outputs, DType.Float32, LinearRole.RowParallel, null);
        for (int i = 0; i < expected.Length; i++)
            expected[i] = before[i] + expected[i];
        using var bench = new CpuBench(2);
        using LinearWeight weight = bench.Weight(weights, Outputs, DType.Float32, LinearRole.RowParallel);
        using DeviceBuffer input = bench.Buffer(Rows, Inputs, x), output = bench.Buffer(Rows, Outputs, before);
        bench.Ops.Linear(Rows, input, weight, output, LinearMode.Add);
        CpuBench.AssertSameBits(expected, bench.Read(output, Rows), "added");
    }

    [Fact]
    public void StackedParts_AreOneWeight()
    {
        using var bench = new CpuBench();
        float[] q = CpuBench.Values(20 * 24, 16), k = CpuBench.Values(7 * 24, 17);
        using LinearWeight stacked = bench.Ops.LoadLinear(new LinearSource(
            [bench.Tensor(q, 20), bench.Tensor(k, 7)], [bench.Tensor(CpuBench.Values(20, 18), 1), bench.Tensor(CpuBench.Values(7, 19), 1)], LinearRole.ColumnParallel));
        float[] x = CpuBench.Values(24, 20);
        float[] expected = Reference(x, 1, [.. q, .. k], 27, DType.Float32, LinearRole.ColumnParallel, [.. CpuBench.Values(20, 18), .. CpuBench.Values(7, 19)]);
        CpuBench.AssertSameBits(expected, bench.Linear(x, 1, stacked), "stacked");
    }

    [Fact]
    public void ColumnRangeOfATensor_IsReadWithItsStride()
    {
        using var bench = new CpuBench();
        float[] weights = CpuBench.Values(8 * 64, 21), x = CpuBench.Values(32, 22);
        using LinearWeight half = bench.Ops.LoadLinear(new LinearSource([bench.Tensor(weights, 8).ColumnRange(32, 32)], [], LinearRole.ColumnParallel));
        float[] part = [.. Enumerable.Range(0, 8).SelectMany(row => weights[((row * 64) + 32)..((row + 1) * 64)])];
        CpuBench.AssertSameBits(Reference(x, 1, part, 8, DType.Float32, LinearRole.ColumnParallel, null), bench.Linear(x, 1, half), "columns");
    }

    [Theory]
    [InlineData(DType.Float32, DType.BFloat16, DType.BFloat16)]
    [InlineData(DType.BFloat16, DType.Float32, DType.Float32)]
    [InlineData(DType.Float32, DType.Float16, DType.Float16)]
    [InlineData(DType.BFloat16, null, DType.BFloat16)]
    [InlineData(DType.Float16, DType.BFloat16, DType.Float16)]
    public void StoredType_FollowsTheRequestButNeverNarrowsFp16ToBf16(DType source, DType? asked, DType stored)
    {
        using var bench = new CpuBench();
        using var weight = (CpuLinear)bench.Ops.LoadLinear(new LinearSource([bench.Tensor(CpuBench.Values(64, 23), 4, source)], [], LinearRole.ColumnParallel, asked));
        Assert.Equal(stored, weight.Type);
    }

    [Fact]
    public void EveryFiniteHalf_IsWidenedExactly()
    {
        float[] halves = [.. Enumerable.Range(0, 65536).Select(bits => (float)BitConverter.UInt16BitsToHalf((ushort)bits)).Where(float.IsFinite)];
        foreach (CpuPath path in CpuBench.Paths)
        {
            using var bench = new CpuBench(1, path);
            using LinearWeight weight = bench.Weight(halves, halves.Length, DType.Float16, LinearRole.ColumnParallel);
            float[] widened = bench.Linear([1f], 1, weight);
            for (int i = 0; i < halves.Length; i++)
                Assert.Equal(halves[i], widened[i]);
        }
    }

    [Fact]
    public void InfiniteHalf_StaysInfinite()
    {
        using var bench = new CpuBench();
        using var weight = (CpuLinear)bench.Weight([1, float.PositiveInfinity, 2, 3], 4, DType.Float16, LinearRole.ColumnParallel);
        Assert.Equal(DType.Float32, weight.Type);
        Assert.Equal([1, float.PositiveInfinity, 2, 3], bench.Linear([1f], 1, weight));
    }

    /// <summary>The three-line loop, once per segment.</summary>
    internal static float[] Reference(float[] x, int rows, float[] weights, int outputs, DType type, LinearRole role, float[]? bias)
    {
        int inputs = x.Length / rows;
        int pairs = (inputs + 1) / 2;
        int segments = role == LinearRole.RowParallel ? 8 : 1;
        weights = [.. weights.Select(value => CpuBench.Rounded(value, type))];
        var y = new float[rows * outputs];
        var sums = new float[segments];
        for (int i = 0; i < y.Length; i++)
        {
            (int row, int n) = (i / outputs, i % outputs);
            for (int s = 0; s < segments; s++)
            {
                int start = 2 * (s * pairs / segments), end = Math.Min(inputs, 2 * ((s + 1) * pairs / segments));
                sums[s] = Dot(x.AsSpan((row * inputs) + start, end - start), weights.AsSpan((n * inputs) + start, end - start));
            }

            for (int half = segments / 2, step = 1; half > 0; half /= 2, step *= 2)
            {
                for (int s = 0; s < segments; s += 2 * step)
                    sums[s] += sums[s + step];
            }

            y[i] = bias is null ? sums[0] : sums[0] + bias[n];
        }

        return y;
    }

    private static float Dot(ReadOnlySpan<float> x, ReadOnlySpan<float> w)
    {
        float sum = 0;
        for (int k = 0; k < x.Length; k++)
            sum = MathF.FusedMultiplyAdd(w[k], x[k], sum);
        return sum;
    }
}
