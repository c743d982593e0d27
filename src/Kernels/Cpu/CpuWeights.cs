using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>A packed linear weight with its bias.</summary>
internal sealed unsafe class CpuLinear : LinearWeight
{
    private readonly PanelMatrix? _panels;
    private readonly BlockMatrix? _blocks;
    private readonly NativeBlock? _bias;

    public CpuLinear(CpuThreadPool pool, LinearSource source)
        : base(checked((int)source.Parts.Sum(part => (long)part.Rows)), source.Parts[0].Columns)
    {
        Segments = source.Role == LinearRole.ColumnParallel ? 1 : source.Segments;
        if (Segments is not (1 or 2 or 4 or 8))
            throw new ArgumentException($"K is summed in 1, 2, 4 or 8 segments, not {Segments}.");
        _bias = source.Biases.Count == 0 ? null : LoadBias(source);
        PanelPacker.CheckParts(source.Parts);
        BlockKind kind = BlockPacker.KindFor(source.Parts, source.Type);
        if (kind == BlockKind.None)
            _panels = PanelPacker.Pack(pool, source.Parts, source.Type);
        else
            _blocks = BlockPacker.Pack(pool, source.Parts, kind);
    }

    /// <summary>Segments of K.</summary>
    public int Segments { get; }

    /// <summary>Type of floating-point panels.</summary>
    public DType Type => _panels?.Type ?? DType.Float32;

    public PanelView View => _panels?.View ?? default;

    /// <summary>Quantised panels; of no kind when the weights are floating-point.</summary>
    public BlockView Blocks => _blocks?.View ?? default;

    /// <summary>One value per output, or null.</summary>
    public float* Bias => _bias is null ? null : (float*)_bias.Pointer;

    protected override void Free()
    {
        _panels?.Dispose();
        _blocks?.Dispose();
        _bias?.Dispose();
    }

    private NativeBlock LoadBias(LinearSource source)
    {
        long length = source.Biases.Sum(bias => bias.Length);
        if (source.Biases.Count != source.Parts.Count || length != OutFeatures)
            throw new ArgumentException($"{source.Biases.Count} biases with {length} values do not fit {source.Parts.Count} parts with {OutFeatures} outputs.");
        var memory = new NativeBlock(4 * length, zeroed: false);
        float* next = (float*)memory.Pointer;
        foreach (HostTensor bias in source.Biases)
        {
            bias.ReadRow(0, new Span<float>(next, bias.Columns));
            next += bias.Columns;
        }

        return memory;
    }
}

/// <summary>Packed experts of one layer.</summary>
internal sealed class CpuExperts : ExpertWeights
{
    public CpuExperts(CpuThreadPool pool, ExpertSource source) : base(source.Gate.Count, source.Gate[0].Columns, source.Gate[0].Rows)
    {
        if (source.Up.Count != Experts || source.Down.Count != Experts)
            throw new ArgumentException($"{Experts} gate, {source.Up.Count} up and {source.Down.Count} down weights: the numbers must be equal.");
        GateUp = new CpuLinear[Experts];
        Down = new CpuLinear[Experts];
        for (int e = 0; e < Experts; e++)
        {
            GateUp[e] = new CpuLinear(pool, new LinearSource([source.Gate[e], source.Up[e]], [], LinearRole.ColumnParallel, source.Type));
            Down[e] = new CpuLinear(pool, new LinearSource([source.Down[e]], [], LinearRole.RowParallel, source.Type) { Segments = source.Segments });
            if (GateUp[e].OutFeatures != 2 * Intermediate || Down[e].InFeatures != Intermediate || Down[e].OutFeatures != Hidden)
                throw new ArgumentException($"Expert {e} is [{GateUp[e].OutFeatures}, {GateUp[e].InFeatures}] and [{Down[e].OutFeatures}, {Down[e].InFeatures}], not of hidden {Hidden} and intermediate {Intermediate}.");
        }
    }

    /// <summary>Gate rows, then up rows, [2 * intermediate, hidden] each.</summary>
    public CpuLinear[] GateUp { get; }

    /// <summary>[hidden, intermediate] each.</summary>
    public CpuLinear[] Down { get; }

    protected override void Free()
    {
        foreach (CpuLinear weight in GateUp)
            weight.Dispose();
        foreach (CpuLinear weight in Down)
            weight.Dispose();
    }
}
