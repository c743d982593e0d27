using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Device ops in pure C#. Every result of a row is a function of that row alone: the same bits for every number of rows,
/// of threads and for every instruction set. Called by one device thread.
/// </summary>
internal sealed unsafe partial class CpuOps : IDeviceOps
{
    private readonly CpuThreadPool _pool;
    private readonly CpuKernels _kernels;
    // What a reader does with an element is at least a pass or two over the row: sharing pays earlier than for a multiply-add.
    private const int HostWorkPerElement = 4;

    private readonly HostWork _readers = new();
    private readonly CpuBatch _batch = new();
    private readonly NativeBlock _linearScratch;
    private readonly Scratch _attentionScratch = new();
    private readonly Scratch _normScratch = new();
    private readonly Scratch _rowScratch = new();
    private readonly Scratch _expertScratch = new();

    public CpuOps(DeviceId device, int threads, CpuPath path)
    {
        Device = device;
        _kernels = CpuKernels.For(path);
        _pool = new CpuThreadPool(threads, device.ToString());
        _linearScratch = new NativeBlock((long)threads * LinearRegion.ScratchBytes, zeroed: false);
    }

    public DeviceId Device { get; }

    public DeviceBuffer Allocate(int rows, int columns, DType type = DType.Float32) => new CpuBuffer(rows, columns, type);

    public LinearWeight LoadLinear(LinearSource source)
    {
        if (source.Parts.Count == 0)
            throw new ArgumentException("A linear weight needs at least one tensor.", nameof(source));
        return SharedWeights.Get(Identity(source.Identity, $"{source.Role}{source.Segments}", source.Type), () => new CpuLinear(_pool, source));
    }

    public ExpertWeights LoadExperts(ExpertSource source)
    {
        if (source.Gate.Count == 0)
            throw new ArgumentException("A layer of experts needs at least one.", nameof(source));
        return SharedWeights.Get(Identity(source.Identity, $"experts{source.Segments}", source.Type), () => new CpuExperts(_pool, source));
    }

    private string? Identity(string? tensors, string role, DType? type) => tensors is null ? null : $"{_kernels.GetType()}|{role}|{type}|{tensors}";

    public VectorWeight LoadVector(HostTensor source) => new CpuVector(source);

    public EmbeddingTable LoadEmbedding(HostTensor source) => new CpuEmbedding(source);

    public RotaryTable LoadRotary(ReadOnlySpan<float> cosines, ReadOnlySpan<float> sines, int dimensions) =>
        new CpuRotary(cosines, sines, dimensions);

    public KvCache AllocateKvCache(KvCacheShape shape) => new CpuKvCache(shape);

    public ExpertRouting AllocateRouting(int maxRows, int topK) => new CpuRouting(maxRows, topK);

    public DeviceBatch Prepare(ForwardBatch batch)
    {
        _batch.Fill(batch);
        return _batch;
    }

    public void EmbedRows(DeviceBatch batch, EmbeddingTable table, DeviceBuffer output)
    {
        var step = (CpuBatch)batch;
        HostTensor source = ((CpuEmbedding)table).Source;
        float* to = Matrix(output, step.Rows, table.Hidden);
        for (int i = 0; i < step.Rows; i++)
            source.ReadRow(step.TokenIds[i], new Span<float>(to + ((long)i * output.Columns), table.Hidden));
    }

    public void RmsNorm(int rows, DeviceBuffer input, VectorWeight weight, float epsilon, DeviceBuffer output) =>
        Norm(rows, input, weight, epsilon, Matrix(output, rows, weight.Length), output.Columns);

    public void Linear(int rows, DeviceBuffer input, LinearWeight weight, DeviceBuffer output, LinearMode mode = LinearMode.Set) =>
        Linear(rows, Matrix(input, rows, weight.InFeatures), input.Columns, weight, output, mode);

    public void NormLinear(int rows, DeviceBuffer input, VectorWeight norm, float epsilon, LinearWeight weight, DeviceBuffer output)
    {
        if (norm.Length != weight.InFeatures)
            throw new ArgumentException($"A norm of {norm.Length} elements does not fit a linear of {weight.InFeatures} inputs.");
        var normed = (float*)_normScratch.Get(4L * rows * norm.Length).Pointer;
        Norm(rows, input, norm, epsilon, normed, norm.Length);
        Linear(rows, normed, norm.Length, weight, output, LinearMode.Set);
    }

    public void GatedSilu(int rows, DeviceBuffer gateUp, DeviceBuffer output) => _kernels.GatedSilu(_pool, new RowJob
    {
        Rows = rows,
        Width = output.Columns,
        X = Matrix(gateUp, rows, 2 * output.Columns),
        XStride = gateUp.Columns,
        Y = Matrix(output, rows, output.Columns),
        YStride = output.Columns,
    });

    public void AddGated(int rows, DeviceBuffer input, DeviceBuffer gate, DeviceBuffer output) => _kernels.AddGated(_pool, new RowJob
    {
        Rows = rows,
        Width = input.Columns,
        X = Matrix(input, rows, input.Columns),
        XStride = input.Columns,
        Other = Matrix(gate, rows, 1),
        OtherStride = gate.Columns,
        Y = Matrix(output, rows, input.Columns),
        YStride = output.Columns,
    });

    public void GatherRows(ReadOnlySpan<int> rowIndices, DeviceBuffer input, DeviceBuffer output)
    {
        float* to = Matrix(output, rowIndices.Length, input.Columns);
        for (int i = 0; i < rowIndices.Length; i++)
            Row(input, rowIndices[i]).CopyTo(new Span<float>(to + ((long)i * output.Columns), input.Columns));
    }

    public void CopyRows(int rows, DeviceBuffer input, DeviceBuffer output)
    {
        float* from = Matrix(input, rows, input.Columns);
        float* to = Matrix(output, rows, input.Columns);
        for (int i = 0; i < rows; i++)
            new Span<float>(from + ((long)i * input.Columns), input.Columns).CopyTo(new Span<float>(to + ((long)i * output.Columns), input.Columns));
    }

    public ReadOnlySpan<float> ReadRow(DeviceBuffer buffer, int row) => Row(buffer, row);

    public int ReaderThreads => _pool.Threads;

    public void ReadRows(DeviceBuffer buffer, int rows, RowReader reader)
    {
        float* values = Matrix(buffer, rows, buffer.Columns);
        _readers.Run(_pool, rows, (long)rows * buffer.Columns * HostWorkPerElement, values, buffer.Columns, reader);
    }

    public void WriteRow(DeviceBuffer buffer, int row, ReadOnlySpan<float> values) => values.CopyTo(Row(buffer, row));

    public Span<float> HostRows(DeviceBuffer buffer, int rows) => new(Matrix(buffer, rows, buffer.Columns), checked(rows * buffer.Columns));

    public void StoreHostRows(DeviceBuffer buffer, int rows)
    {
    }

    public void AddRows(int rows, DeviceBuffer input, VectorWeight? bias, DeviceBuffer output)
    {
        if (bias is not null && bias.Length != input.Columns)
            throw new ArgumentException($"A bias of {bias.Length} elements does not fit rows of {input.Columns}.");
        _kernels.AddRows(_pool, new RowJob
        {
            Rows = rows,
            Width = input.Columns,
            X = Matrix(input, rows, input.Columns),
            XStride = input.Columns,
            Other = bias is null ? null : ((CpuVector)bias).Floats,
            Y = Matrix(output, rows, input.Columns),
            YStride = output.Columns,
        });
    }

    public void Dispose()
    {
        _pool.Dispose();
        _readers.Dispose();
        _batch.Dispose();
        _linearScratch.Dispose();
        _attentionScratch.Dispose();
        _normScratch.Dispose();
        _rowScratch.Dispose();
        _expertScratch.Dispose();
    }

    private void Norm(int rows, DeviceBuffer input, VectorWeight weight, float epsilon, float* output, long outputStride) =>
        _kernels.Norm(_pool, new RowJob
        {
            Rows = rows,
            Width = weight.Length,
            X = Matrix(input, rows, weight.Length),
            XStride = input.Columns,
            Other = ((CpuVector)weight).Floats,
            Y = output,
            YStride = outputStride,
            Epsilon = epsilon,
        });

    private void Linear(int rows, float* input, long inputStride, LinearWeight weight, DeviceBuffer output, LinearMode mode)
    {
        LinearJob job = JobFor((CpuLinear)weight, rows, input, inputStride);
        job.Y = Matrix(output, rows, weight.OutFeatures);
        job.YStride = output.Columns;
        job.Add = mode == LinearMode.Add;
        _kernels.Linear(_pool, &job, 1, _linearScratch, _rowScratch);
    }

    private static LinearJob JobFor(CpuLinear weight, int rows, float* input, long inputStride) => new()
    {
        Weight = weight.View,
        Type = weight.Type,
        Blocks = weight.Blocks,
        Segments = weight.Segments,
        Bias = weight.Bias,
        X = input,
        XStride = inputStride,
        Rows = rows,
    };

    /// <summary>First element of a fp32 matrix with room for what the op wants.</summary>
    private static float* Matrix(DeviceBuffer buffer, int rows, int columns)
    {
        if (rows < 0 || rows > buffer.Rows || columns > buffer.Columns)
            throw new ArgumentException($"A buffer [{buffer.Rows}, {buffer.Columns}] has no room for [{rows}, {columns}].");
        return ((CpuBuffer)buffer).Floats;
    }

    private static Span<float> Row(DeviceBuffer buffer, int row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)buffer.Rows);
        return new Span<float>(((CpuBuffer)buffer).Floats + ((long)row * buffer.Columns), buffer.Columns);
    }
}
