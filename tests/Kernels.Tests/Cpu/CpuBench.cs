using System.Runtime.InteropServices;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>A CPU device under test, with what it takes to put arrays in and get them out.</summary>
internal sealed unsafe class CpuBench : IDisposable
{
    private readonly List<nint> _tensors = [];

    public CpuBench(int threads = 1, CpuPath? path = null) =>
        Ops = new CpuOps(new DeviceId("cpu", 0), threads, path ?? CpuPaths.Best);

    /// <summary>The paths this process can run.</summary>
    public static IEnumerable<CpuPath> Paths => Enum.GetValues<CpuPath>().Where(CpuPaths.IsSupported);

    public IDeviceOps Ops { get; }

    /// <summary>Values in [-1, 1) that depend on the seed only.</summary>
    public static float[] Values(int count, int seed)
    {
        var random = new Random(seed);
        var values = new float[count];
        for (int i = 0; i < count; i++)
            values[i] = (random.NextSingle() * 2) - 1;
        return values;
    }

    /// <summary>Rounds to what the type can hold.</summary>
    public static float Rounded(float value, DType type) => type switch
    {
        DType.BFloat16 => BFloat.Widen(BFloat.Narrow(value)),
        DType.Float16 => (float)(Half)value,
        _ => value,
    };

    /// <summary>A checkpoint tensor in memory.</summary>
    public HostTensor Tensor(float[] values, int rows, DType type = DType.Float32)
    {
        int columns = values.Length / rows;
        var memory = (nint)NativeMemory.Alloc((nuint)(values.Length * type.ByteSize()));
        _tensors.Add(memory);
        for (int i = 0; i < values.Length; i++)
        {
            if (type == DType.Float32)
                ((float*)memory)[i] = values[i];
            else
                ((ushort*)memory)[i] = type == DType.BFloat16 ? BFloat.Narrow(values[i]) : BitConverter.HalfToUInt16Bits((Half)values[i]);
        }

        return new HostTensor(memory, type, rows, columns, columns, "test");
    }

    /// <summary>A checkpoint tensor of blocks in memory.</summary>
    public HostTensor Blocks(byte[] blocks, DType type, int rows, int columns)
    {
        var memory = (nint)NativeMemory.Alloc((nuint)blocks.Length);
        _tensors.Add(memory);
        blocks.CopyTo(new Span<byte>((void*)memory, blocks.Length));
        return new HostTensor(memory, type, rows, columns, columns, "test");
    }

    public LinearWeight Weight(float[] values, int outputs, DType type, LinearRole role, float[]? bias = null) =>
        Ops.LoadLinear(new LinearSource([Tensor(values, outputs, type)], bias is null ? [] : [Tensor(bias, 1)], role));

    public DeviceBuffer Buffer(int rows, int columns, float[]? values = null)
    {
        DeviceBuffer buffer = Ops.Allocate(Math.Max(1, rows), columns);
        for (int row = 0; values is not null && row < rows; row++)
            Ops.WriteRow(buffer, row, values.AsSpan(row * columns, columns));
        return buffer;
    }

    public float[] Read(DeviceBuffer buffer, int rows)
    {
        var values = new float[rows * buffer.Columns];
        for (int row = 0; row < rows; row++)
            Ops.ReadRow(buffer, row).CopyTo(values.AsSpan(row * buffer.Columns));
        return values;
    }

    /// <summary>output = linear(input).</summary>
    public float[] Linear(float[] input, int rows, LinearWeight weight)
    {
        using DeviceBuffer x = Buffer(rows, weight.InFeatures, input);
        using DeviceBuffer y = Buffer(rows, weight.OutFeatures);
        Ops.Linear(rows, x, weight, y);
        return Read(y, rows);
    }

    public void Dispose()
    {
        Ops.Dispose();
        foreach (nint memory in _tensors)
            NativeMemory.Free((void*)memory);
    }

    /// <summary>Bit by bit, so that -0 and +0 differ.</summary>
    public static void AssertSameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, expected {expected[i]:R}.");
        }
    }

    public static void AssertClose(ReadOnlySpan<double> expected, ReadOnlySpan<float> actual, double tolerance, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (!(Math.Abs(expected[i] - actual[i]) <= tolerance * Math.Max(1, Math.Abs(expected[i]))))
                Assert.Fail($"{what}: element {i} is {actual[i]:R}, expected {expected[i]:R}.");
        }
    }
}
