using System.Runtime.Intrinsics;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>Linear layers over quantised weights against a scalar loop, bit by bit, on every path.</summary>
public sealed class BlockLinearTests
{
    private static readonly int[] RowCounts = [1, 2, 3, 4, 5, 6, 8, 9, 16, 17, 70];

    public static TheoryData<DType, LinearRole, int, int> Shapes
    {
        get
        {
            var data = new TheoryData<DType, LinearRole, int, int>();
            foreach (DType type in (DType[])[DType.Q8_0, DType.Q4_0, DType.Q4_K, DType.Q6_K])
            {
                foreach (LinearRole role in Enum.GetValues<LinearRole>())
                {
                    data.Add(type, role, 256, 48);
                    data.Add(type, role, 1280, 37);
                    if (type.BlockElements() == 32)
                    {
                        data.Add(type, role, 32, 5);
                        data.Add(type, role, 96, 17);
                        data.Add(type, role, 2144, 9);
                    }
                }
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void EveryPathAndRowCount_EqualsTheScalarLoop(DType type, LinearRole role, int inputs, int outputs)
    {
        float[] x = CpuBench.Values(70 * inputs, 3);
        float[] bias = CpuBench.Values(outputs, 2);
        float[] expected = BlockReference.Linear(x, 70, inputs, type, BlockReference.Blocks(type, outputs, inputs, 1), outputs, role, bias);
        foreach (CpuPath path in CpuBench.Paths)
        {
            using var bench = new CpuBench(2, path);
            HostTensor tensor = bench.Blocks(BlockReference.Blocks(type, outputs, inputs, 1), type, outputs, inputs);
            using LinearWeight weight = bench.Ops.LoadLinear(new LinearSource([tensor], [bench.Tensor(bias, 1)], role));
            foreach (int rows in RowCounts)
                CpuBench.AssertSameBits(expected.AsSpan(0, rows * outputs), bench.Linear(x[..(rows * inputs)], rows, weight), $"{path}, {rows} rows");
        }
    }

    [Theory]
    [InlineData(DType.Q8_0, 0.012)]
    [InlineData(DType.Q4_0, 0.15)]
    public void FloatsQuantisedAtLoad_StayNearTheExactProduct(DType type, double bound)
    {
        const int Inputs = 1024, Outputs = 24, Rows = 3;
        float[] weights = CpuBench.Values(Outputs * Inputs, 4), x = CpuBench.Values(Rows * Inputs, 5);
        using var bench = new CpuBench(1);
        using LinearWeight weight = bench.Ops.LoadLinear(new LinearSource([bench.Tensor(weights, Outputs)], [], LinearRole.ColumnParallel, type));
        float[] actual = bench.Linear(x, Rows, weight);
        double error = 0, norm = 0;
        for (int row = 0; row < Rows; row++)
        {
            for (int n = 0; n < Outputs; n++)
            {
                double exact = 0;
                for (int k = 0; k < Inputs; k++)
                    exact += (double)x[(row * Inputs) + k] * weights[(n * Inputs) + k];
                error += Math.Pow(exact - actual[(row * Outputs) + n], 2);
                norm += exact * exact;
            }
        }
        Assert.InRange(Math.Sqrt(error / norm), 0, bound);
    }

    [Fact]
    public void StackedPartsOfDifferentTypes_AreKeptIn8Bits()
    {
        const int Inputs = 256;
        using var bench = new CpuBench(1);
        byte[] first = BlockReference.Blocks(DType.Q4_K, 16, Inputs, 6), second = BlockReference.Blocks(DType.Q6_K, 8, Inputs, 7);
        using LinearWeight weight = bench.Ops.LoadLinear(new LinearSource(
            [bench.Blocks(first, DType.Q4_K, 16, Inputs), bench.Blocks(second, DType.Q6_K, 8, Inputs)], [], LinearRole.ColumnParallel));
        float[] x = CpuBench.Values(Inputs, 8);
        byte[] both = [.. BlockReference.Requantise(first, DType.Q4_K, 16, Inputs), .. BlockReference.Requantise(second, DType.Q6_K, 8, Inputs)];
        float[] expected = BlockReference.Linear(x, 1, Inputs, DType.Q8_0, both, 24, LinearRole.ColumnParallel, new float[24]);
        CpuBench.AssertSameBits(expected, bench.Linear(x, 1, weight), "mixed parts");
    }

    [Fact]
    public void RowWithNaN_GivesNaN_AndTouchesNoOtherRow()
    {
        const int Inputs = 64, Outputs = 16;
        float[] x = CpuBench.Values(3 * Inputs, 9);
        byte[] blocks = BlockReference.Blocks(DType.Q8_0, Outputs, Inputs, 10);
        foreach (CpuPath path in CpuBench.Paths)
        {
            using var bench = new CpuBench(1, path);
            using LinearWeight weight = bench.Ops.LoadLinear(new LinearSource([bench.Blocks(blocks, DType.Q8_0, Outputs, Inputs)], [], LinearRole.ColumnParallel));
            float[] clean = bench.Linear(x, 3, weight);
            foreach (float broken in (float[])[float.NaN, float.PositiveInfinity])
            {
                var y = (float[])x.Clone();
                y[Inputs + 40] = broken;
                float[] actual = bench.Linear(y, 3, weight);
                Assert.All(actual[Outputs..(2 * Outputs)], value => Assert.True(float.IsNaN(value)));
                CpuBench.AssertSameBits(clean.AsSpan(0, Outputs), actual.AsSpan(0, Outputs), $"{path}, row 0");
                CpuBench.AssertSameBits(clean.AsSpan(2 * Outputs), actual.AsSpan(2 * Outputs), $"{path}, row 2");
            }
        }
    }

    [Fact]
    public void ScaleThatIsNotFinite_IsRefusedWithTheTensorsName()
    {
        byte[] blocks = BlockReference.Blocks(DType.Q8_0, 8, 64, 11);
        BitConverter.TryWriteBytes(blocks.AsSpan(34 * 3), Half.NaN);
        using var bench = new CpuBench(1);
        var failure = Assert.Throws<Cluster.Kernels.Models.CheckpointFormatException>(() =>
            bench.Ops.LoadLinear(new LinearSource([bench.Blocks(blocks, DType.Q8_0, 8, 64)], [], LinearRole.ColumnParallel)));
        Assert.Contains("test", failure.Message, StringComparison.Ordinal);
    }

    /// <summary>The Arm path's sums where no Arm processor is: their portable form.</summary>
    [Fact]
    public unsafe void FourLanes_SumLikeTheScalar()
    {
        var random = new Random(12);
        byte* bytes = stackalloc byte[16];
        for (int round = 0; round < 1000; round++)
        {
            random.NextBytes(new Span<byte>(bytes, 16));
            int start = random.Next(), x = random.Next(int.MinValue, int.MaxValue);
            Vector128<int> sum = ByteLanes128.DotBytes(Vector128.Create(start), ByteLanes128.Load(bytes), Vector128.Create(x));
            Vector128<int> nibbles = ByteLanes128.DotNibbles(Vector128.Create(start), ByteLanes128.HighNibbles(ByteLanes128.Load(bytes)), Vector128.Create(x));
            for (int lane = 0; lane < 4; lane++)
            {
                int weights = ByteLanesScalar.Load(bytes + (4 * lane));
                Assert.Equal(ByteLanesScalar.DotBytes(start, weights, x), sum[lane]);
                Assert.Equal(ByteLanesScalar.DotNibbles(start, ByteLanesScalar.HighNibbles(weights), x), nibbles[lane]);
            }
        }
    }
}
