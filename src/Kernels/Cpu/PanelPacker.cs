using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>Packs rows of checkpoint tensors into panels, over the threads of the pool, straight from the mapped file.</summary>
internal static unsafe class PanelPacker
{
    private const int ColumnBlock = 512;

    /// <summary>Stacks the parts along the output.</summary>
    public static PanelMatrix Pack(CpuThreadPool pool, IReadOnlyList<HostTensor> parts, DType? type)
    {
        int inputs = CheckParts(parts);
        int outputs = checked((int)parts.Sum(part => (long)part.Rows));
        DType? through = type is { } asked && asked.IsQuantized() ? asked : null;
        if (through is { } blocks && (!BlockQuantizer.Fits(inputs) || blocks is not (DType.Q8_0 or DType.Q4_0)))
            throw new ArgumentException($"{parts[0].Name} with {inputs} columns cannot be kept as {blocks}.");
        DType stored = StoredType(parts, through is null ? type : DType.Float32);
        PanelMatrix packed = Pack(pool, parts, outputs, inputs, stored, through, out bool finite);
        if (stored != DType.Float16 || finite)
            return packed;

        // The fast widening of fp16 knows finite values only.
        packed.Dispose();
        return Pack(pool, parts, outputs, inputs, DType.Float32, null, out _);
    }

    /// <summary>
    /// The type weights are kept in: what was asked for, else the widest of the parts. fp16 is never narrowed to bf16, which
    /// would lose three bits of every weight.
    /// </summary>
    internal static DType StoredType(IReadOnlyList<HostTensor> parts, DType? type)
    {
        bool alike = parts.All(part => part.Type == parts[0].Type);
        DType own = alike && !parts[0].Type.IsQuantized() ? parts[0].Type : DType.Float32;
        bool losesBits = type == DType.BFloat16 && parts.Any(part => part.Type == DType.Float16);
        DType stored = losesBits ? own : type ?? own;
        return stored is DType.Float32 or DType.BFloat16 or DType.Float16
            ? stored
            : throw new ArgumentException($"Weights are kept as Float32, BFloat16 or Float16, not {stored} ({parts[0].Name}).");
    }

    internal static int CheckParts(IReadOnlyList<HostTensor> parts)
    {
        if (parts.Count == 0)
            throw new ArgumentException("A linear weight needs at least one tensor.");
        foreach (HostTensor part in parts)
        {
            if (part.Columns != parts[0].Columns || part.Columns <= 0 || part.Rows <= 0)
                throw new ArgumentException($"{part.Name} is [{part.Rows}, {part.Columns}]; {parts[0].Columns} columns are needed.");
        }

        return parts[0].Columns;
    }

    private static PanelMatrix Pack(CpuThreadPool pool, IReadOnlyList<HostTensor> parts, int outputs, int inputs, DType stored, DType? through, out bool finite)
    {
        var matrix = new PanelMatrix(outputs, inputs, stored);
        var job = new PackJob(parts, matrix.View, stored, through);
        using var rows = new PackRows(pool, parts, PanelView.Width);
        try
        {
            rows.Run((panel, lanes) => PackPanel(job, panel, lanes));
        }
        catch
        {
            matrix.Dispose();
            throw;
        }
        finite = !job.HasNonFinite;
        return matrix;
    }

    private static void PackPanel(PackJob job, int panel, ReadOnlySpan<PackRow> rows)
    {
        byte* target = job.Target.Panel(panel);
        float* values = stackalloc float[ColumnBlock * PanelView.Width];
        uint** lanes = stackalloc uint*[PanelView.Width];
        for (int column = 0; column < job.Target.Inputs; column += ColumnBlock)
        {
            int count = Math.Min(ColumnBlock, job.Target.Inputs - column);
            for (int lane = 0; lane < rows.Length; lane++)
                lanes[lane] = Words(job, rows[lane], column, count, values + (ColumnBlock * lane));
            Store(job, lanes, rows.Length, count, target + ((long)column / 2 * PanelMatrix.PairBytes(job.Stored)));
        }
    }

    private static void Store(PackJob job, uint** lanes, int rows, int count, byte* to)
    {
        bool isFloat = job.Stored == DType.Float32;
        int words = isFloat ? count : count / 2;
        int done = rows == PanelView.Width ? LaneStore.Sixteen(lanes, words, to) : 0;
        for (int lane = 0; lane < PanelView.Width; lane += LaneStore.Lanes)
            LaneStore.Four(lanes + lane, Math.Clamp(rows - lane, 0, LaneStore.Lanes), done, words, to + (4 * lane));
        for (int lane = 0; lane < PanelView.Width && count % 2 != 0; lane++)
            LaneStore.Word(to, words, lane) = isFloat || lane >= rows ? 0u : ((ushort*)lanes[lane])[count - 1];
        if (job.Stored != DType.Float16)
            return;
        for (int lane = 0; lane < rows; lane++)
        {
            if (!LaneStore.IsFinite((ushort*)lanes[lane], count))
                job.HasNonFinite = true;
        }
    }

    /// <summary>A stretch of a row as the panel stores it: where the file has it if it is of that type, else in <paramref name="values"/>.</summary>
    private static uint* Words(PackJob job, PackRow row, int column, int count, float* values)
    {
        DType type = job.Parts[row.Part].Type;
        var start = (byte*)row.Start;
        if (type == job.Stored && job.Through is null)
            return (uint*)(start + type.BytesOf(column));
        float* source = Widen(start, type, column, count, values);
        if (job.Through is { } blocks && blocks != type)
            source = Round(blocks, source, count, values);
        return job.Stored == DType.Float32 ? (uint*)source : (uint*)Narrow(job.Stored, source, count, values);
    }

    private static float* Widen(byte* start, DType type, int column, int count, float* values)
    {
        switch (type)
        {
            case DType.Float32:
                return (float*)start + column;
            case DType.BFloat16:
                for (int k = 0; k < count; k++)
                    values[k] = BFloat.Widen(((ushort*)start)[column + k]);
                return values;
            case DType.Float16:
                for (int k = 0; k < count; k++)
                    values[k] = (float)((Half*)start)[column + k];
                return values;
            default:
                BlockReader.Read(type, new ReadOnlySpan<byte>(start + type.BytesOf(column), (int)type.BytesOf(count)), new Span<float>(values, count));
                return values;
        }
    }

    /// <summary>The values that quantised weights have.</summary>
    private static float* Round(DType type, float* source, int count, float* values)
    {
        Span<byte> blocks = stackalloc byte[(int)type.BytesOf(count)];
        BlockQuantizer.Quantize(type, new ReadOnlySpan<float>(source, count), blocks);
        BlockReader.Read(type, blocks, new Span<float>(values, count));
        return values;
    }

    /// <summary>In place: the halves take the first part of the buffer, which has been read by then.</summary>
    private static ushort* Narrow(DType stored, float* source, int count, float* values)
    {
        var halves = (ushort*)values;
        for (int k = 0; k < count; k++)
            halves[k] = stored == DType.BFloat16 ? BFloat.Narrow(source[k]) : BitConverter.HalfToUInt16Bits((Half)source[k]);
        return halves;
    }

    /// <param name="parts">Stacked tensors.</param>
    /// <param name="target">Where they go.</param>
    /// <param name="stored">Type of the panels.</param>
    /// <param name="through">Block type that fp32 panels take their values through, or null.</param>
    private sealed class PackJob(IReadOnlyList<HostTensor> parts, PanelView target, DType stored, DType? through)
    {
        public readonly IReadOnlyList<HostTensor> Parts = parts;
        public readonly PanelView Target = target;
        public readonly DType Stored = stored;
        public readonly DType? Through = through;
        public volatile bool HasNonFinite;
    }
}
