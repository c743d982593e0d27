using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>A linear weight widened to fp32 rows.</summary>
internal sealed unsafe class CpuLinear : LinearWeight
{
    private readonly NativeBlock _memory;

    public CpuLinear(LinearSource source) : base(source.Parts.Sum(part => part.Rows), source.Parts[0].Columns)
    {
        Role = source.Role;
        _memory = new NativeBlock(4L * OutFeatures * (InFeatures + 1), zeroed: true);
        float* next = Rows;
        foreach (HostTensor part in source.Parts)
        {
            for (int row = 0; row < part.Rows; row++, next += InFeatures)
            {
                part.ReadRow(row, new Span<float>(next, InFeatures));
                if ((source.Type ?? part.Type) == DType.BFloat16 && part.Type == DType.Float32)
                    Narrow(next);
            }
        }

        HasBias = source.Biases.Count > 0;
        foreach (HostTensor bias in source.Biases)
        {
            bias.ReadRow(0, new Span<float>(next, bias.Columns));
            next += bias.Columns;
        }
    }

    public LinearRole Role { get; }

    public bool HasBias { get; }

    public float* Rows => (float*)_memory.Pointer;

    public float* Bias => Rows + ((long)OutFeatures * InFeatures);

    public override void Dispose() => _memory.Dispose();

    private void Narrow(float* row)
    {
        for (int i = 0; i < InFeatures; i++)
            row[i] = (float)(BFloat(row[i]));
    }

    private static float BFloat(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        bits += 0x7FFF + ((bits >> 16) & 1);
        return BitConverter.UInt32BitsToSingle(bits & 0xFFFF0000);
    }
}

/// <summary>Experts of one layer.</summary>
internal sealed class CpuExperts : ExpertWeights
{
    public CpuExperts(ExpertSource source) : base(source.Gate.Count, source.Gate[0].Columns, source.Gate[0].Rows)
    {
        GateUp = new CpuLinear[Experts];
        Down = new CpuLinear[Experts];
        for (int e = 0; e < Experts; e++)
        {
            GateUp[e] = new CpuLinear(new LinearSource([source.Gate[e], source.Up[e]], [], LinearRole.ColumnParallel, source.Type));
            Down[e] = new CpuLinear(new LinearSource([source.Down[e]], [], LinearRole.RowParallel, source.Type));
        }
    }

    public CpuLinear[] GateUp { get; }

    public CpuLinear[] Down { get; }

    public override void Dispose()
    {
        foreach (CpuLinear weight in GateUp.Concat(Down))
            weight.Dispose();
    }
}
