using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Benchmarks.Kernels;

/// <summary>One linear layer; several copies of its weights in turn, so that no cache holds the next one.</summary>
internal sealed unsafe class LinearBench : IDisposable
{
    private const long RotatedBytes = 300L << 20;
    private readonly CpuOps _ops;
    private readonly LinearWeight[] _weights;
    private readonly DeviceBuffer _input;
    private readonly DeviceBuffer _output;
    private int _next;

    public LinearBench(int threads, DType type, int inputs, int outputs)
    {
        _ops = new CpuOps(new DeviceId("cpu", 0), threads, CpuPaths.Best);
        DType sourceType = type.IsQuantized() ? DType.BFloat16 : type;
        WeightBytes = outputs * type.BytesOf(inputs);
        using var source = new NativeBlock(outputs * sourceType.BytesOf(inputs), zeroed: false);
        var random = new Random(1);
        for (long i = 0; i < (long)inputs * outputs; i++)
        {
            float value = random.NextSingle() - 0.5f;
            if (sourceType == DType.Float32)
                ((float*)source.Pointer)[i] = value;
            else
                ((ushort*)source.Pointer)[i] = sourceType == DType.BFloat16 ? BFloat.Narrow(value) : BitConverter.HalfToUInt16Bits((Half)value);
        }

        var tensor = new HostTensor((nint)source.Pointer, sourceType, outputs, inputs, inputs, "weight");
        _weights = [.. Enumerable.Range(0, (int)(RotatedBytes / WeightBytes) + 1).Select(_ => _ops.LoadLinear(new LinearSource([tensor], [], LinearRole.ColumnParallel, type)))];
        _input = _ops.Allocate(512, inputs);
        _output = _ops.Allocate(512, outputs);
        var row = new float[inputs];
        for (int i = 0; i < 512; i++)
        {
            for (int k = 0; k < inputs; k++)
                row[k] = random.NextSingle() - 0.5f;
            _ops.WriteRow(_input, i, row);
        }
    }

    public long WeightBytes { get; }

    public void Run(int rows)
    {
        _ops.Linear(rows, _input, _weights[_next], _output);
        _next = (_next + 1) % _weights.Length;
    }

    public void Dispose()
    {
        foreach (LinearWeight weight in _weights)
            weight.Dispose();
        _input.Dispose();
        _output.Dispose();
        _ops.Dispose();
    }
}
