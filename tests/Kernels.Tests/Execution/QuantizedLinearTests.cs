using System.Runtime.InteropServices;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Execution;

/// <summary>A linear layer kept in blocks, or read from blocks, computes with the values of the blocks.</summary>
public sealed unsafe class QuantizedLinearTests
{
    private const int Outputs = 21, Inputs = 1024;

    [Theory]
    [InlineData(DType.Q8_0)]
    [InlineData(DType.Q4_0)]
    public void Weights_are_quantised_at_load(DType type)
    {
        float[] weights = Values(Outputs * Inputs, seed: 3);
        fixed (float* start = weights)
        {
            var source = new HostTensor((nint)start, DType.Float32, Outputs, Inputs, Inputs, "w");
            var rounded = new float[weights.Length];
            var blocks = new byte[type.BytesOf(Inputs)];
            for (int row = 0; row < Outputs; row++)
            {
                BlockQuantizer.Quantize(type, weights.AsSpan(row * Inputs, Inputs), blocks);
                BlockReader.Read(type, blocks, rounded.AsSpan(row * Inputs, Inputs));
            }
            AssertClose(rounded, Apply(new LinearSource([source], [], LinearRole.ColumnParallel, type)), 2e-2);
        }
    }

    [Theory]
    [InlineData(DType.Q8_0)]
    [InlineData(DType.Q4_0)]
    [InlineData(DType.Q4_K)]
    [InlineData(DType.Q6_K)]
    public void Blocks_of_a_file_are_read(DType type)
    {
        int bytes = type.BlockBytes();
        var data = new byte[Outputs * type.BytesOf(Inputs)];
        new Random(4).NextBytes(data);
        for (int block = 0; block < data.Length / bytes; block++)
        {
            MemoryMarshal.Write(data.AsSpan(block * bytes + (type == DType.Q6_K ? 208 : 0)), (Half)0.01f);
            if (type == DType.Q4_K)
                MemoryMarshal.Write(data.AsSpan(block * bytes + 2), (Half)0.02f);
        }
        fixed (byte* start = data)
        {
            var source = new HostTensor((nint)start, type, Outputs, Inputs, Inputs, "w");
            var values = new float[Outputs * Inputs];
            for (int row = 0; row < Outputs; row++)
                source.ReadRow(row, values.AsSpan(row * Inputs, Inputs));
            AssertClose(values, Apply(new LinearSource([source], [], LinearRole.ColumnParallel)), 2e-2);
        }
    }

    [Fact]
    public void Rows_that_are_no_whole_blocks_are_refused()
    {
        float[] weights = new float[2 * 40];
        fixed (float* start = weights)
        {
            var source = new HostTensor((nint)start, DType.Float32, 2, 40, 40, "odd.weight");
            using var ops = new CpuOps(new DeviceId("cpu", 0), 1, CpuPaths.Best);
            Assert.Contains("odd.weight", Assert.Throws<ArgumentException>(() => ops.LoadLinear(new LinearSource([source], [], LinearRole.RowParallel, DType.Q8_0))).Message);
        }
    }

    private static float[] Apply(LinearSource source)
    {
        using var ops = new CpuOps(new DeviceId("cpu", 0), 1, CpuPaths.Best);
        using LinearWeight weight = ops.LoadLinear(source);
        using DeviceBuffer input = ops.Allocate(1, Inputs), output = ops.Allocate(1, Outputs);
        ops.WriteRow(input, 0, Values(Inputs, seed: 5));
        ops.Linear(1, input, weight, output);
        return ops.ReadRow(output, 0).ToArray();
    }

    // Activations may be rounded to 8 bits by a kernel: the tolerance is relative to the sum of magnitudes' root.
    private static void AssertClose(float[] weights, float[] actual, double tolerance)
    {
        float[] x = Values(Inputs, seed: 5);
        for (int row = 0; row < Outputs; row++)
        {
            double sum = 0, squares = 0;
            for (int k = 0; k < Inputs; k++)
            {
                double product = (double)weights[row * Inputs + k] * x[k];
                (sum, squares) = (sum + product, squares + product * product);
            }
            Assert.True(Math.Abs(sum - actual[row]) <= tolerance * Math.Sqrt(squares), $"output {row}: {sum} became {actual[row]}");
        }
    }

    private static float[] Values(int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - 0.5f)];
    }
}
