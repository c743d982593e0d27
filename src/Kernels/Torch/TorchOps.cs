using Cluster.Kernels.Execution;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.Kernels.Torch;

/// <summary>
/// Device ops on libtorch: the reference for the C# ops, and the way onto any device that libtorch knows. Weights and
/// activations are fp32. A row's bits do not depend on its batch (<see cref="TorchLinear"/>; attention goes row by row), but they are the
/// library's: sums follow its order on this processor, so splits over ranks agree within ulps only.
/// Every call opens and closes one dispose scope on the device's thread.
/// </summary>
internal sealed partial class TorchOps(DeviceId id, Device device) : IDeviceOps
{
    private TorchBatch? _batch;
    private float[] _row = [];
    private float[] _rows = [];

    public DeviceId Device { get; } = id;

    public DeviceBuffer Allocate(int rows, int columns, DType type = DType.Float32) => new TorchBuffer(rows, columns, type, device);

    public LinearWeight LoadLinear(LinearSource source) => new TorchLinear(source, device);

    public ExpertWeights LoadExperts(ExpertSource source) => new TorchExperts(source, device);

    public VectorWeight LoadVector(HostTensor source) => new TorchVector(source, device);

    public EmbeddingTable LoadEmbedding(HostTensor source) => new TorchEmbedding(source);

    public RotaryTable LoadRotary(ReadOnlySpan<float> cosines, ReadOnlySpan<float> sines, int dimensions) =>
        new TorchRotary(cosines, sines, dimensions, device);

    public KvCache AllocateKvCache(KvCacheShape shape) => new TorchKvCache(shape, device);

    public ExpertRouting AllocateRouting(int maxRows, int topK) => new TorchRouting(maxRows, topK);

    public DeviceBatch Prepare(ForwardBatch batch)
    {
        _batch?.Dispose();
        return _batch = new TorchBatch(batch, device);
    }

    public void EmbedRows(DeviceBatch batch, EmbeddingTable table, DeviceBuffer output)
    {
        HostTensor source = ((TorchEmbedding)table).Source;
        ForwardBatch rows = batch.Batch;
        using DisposeScope scope = NewDisposeScope();
        Tensor host = empty(rows.Rows, table.Hidden, ScalarType.Float32);
        for (int row = 0; row < rows.Rows; row++)
            source.ReadRow(rows.TokenIds[row], TorchTensors.Floats(host).Slice(row * table.Hidden, table.Hidden));
        Rows(output, rows.Rows).copy_(host);
    }

    public void RmsNorm(int rows, DeviceBuffer input, VectorWeight weight, float epsilon, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        Rows(output, rows).copy_(Normalise(Rows(input, rows), weight, epsilon));
    }

    public void Linear(int rows, DeviceBuffer input, LinearWeight weight, DeviceBuffer output, LinearMode mode = LinearMode.Set)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor result = ((TorchLinear)weight).Apply(Rows(input, rows));
        if (mode == LinearMode.Add)
            Rows(output, rows).Increase(result);
        else
            Rows(output, rows).copy_(result);
    }

    public void NormLinear(int rows, DeviceBuffer input, VectorWeight norm, float epsilon, LinearWeight weight, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        Rows(output, rows).copy_(((TorchLinear)weight).Apply(Normalise(Rows(input, rows), norm, epsilon)));
    }

    public void GatedSilu(int rows, DeviceBuffer gateUp, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor both = Rows(gateUp, rows);
        Rows(output, rows).copy_(
            nn.functional.silu(both.narrow(1, 0, output.Columns)) * both.narrow(1, output.Columns, output.Columns));
    }

    public void AddGated(int rows, DeviceBuffer input, DeviceBuffer gate, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        Rows(output, rows).Increase(Rows(gate, rows).narrow(1, 0, 1).sigmoid() * Rows(input, rows));
    }

    public void GatherRows(ReadOnlySpan<int> rowIndices, DeviceBuffer input, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        using Tensor indices = TorchTensors.Indices(rowIndices, device);
        Rows(output, rowIndices.Length).copy_(Of(input).index_select(0, indices));
    }

    public void CopyRows(int rows, DeviceBuffer input, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        Rows(output, rows).copy_(Rows(input, rows));
    }

    public ReadOnlySpan<float> ReadRow(DeviceBuffer buffer, int row)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor host = Row(buffer, row).cpu();
        Array.Resize(ref _row, buffer.Columns);
        TorchTensors.Floats(host).CopyTo(_row);
        return _row;
    }

    public int ReaderThreads => 1;

    public void ReadRows(DeviceBuffer buffer, int rows, RowReader reader)
    {
        for (int row = 0; row < rows; row++)
            reader(row, ReadRow(buffer, row), 0);
    }

    public void WriteRow(DeviceBuffer buffer, int row, ReadOnlySpan<float> values)
    {
        using DisposeScope scope = NewDisposeScope();
        using Tensor host = TorchTensors.FromValues(values, 1, values.Length, device);
        Row(buffer, row).copy_(host);
    }

    public Span<float> HostRows(DeviceBuffer buffer, int rows)
    {
        using DisposeScope scope = NewDisposeScope();
        int length = checked(rows * buffer.Columns);
        if (_rows.Length < length)
            _rows = new float[length];
        TorchTensors.Floats(Rows(buffer, rows).cpu().contiguous()).CopyTo(_rows);
        return _rows.AsSpan(0, length);
    }

    public void StoreHostRows(DeviceBuffer buffer, int rows)
    {
        using DisposeScope scope = NewDisposeScope();
        using Tensor host = TorchTensors.FromValues(_rows.AsSpan(0, rows * buffer.Columns), rows, buffer.Columns, device);
        Rows(buffer, rows).copy_(host);
    }

    public void AddRows(int rows, DeviceBuffer input, VectorWeight? bias, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor values = Rows(input, rows);
        Rows(output, rows).Increase(bias is null ? values : values.Plus(((TorchVector)bias).Tensor));
    }

    public void Dispose()
    {
        _batch?.Dispose();
        _batch = null;
    }

    private static Tensor Normalise(Tensor rows, VectorWeight weight, float epsilon) =>
        rows * (rows * rows).mean([-1], keepdim: true).Plus(epsilon).rsqrt() * ((TorchVector)weight).Tensor;

    private static Tensor Of(DeviceBuffer buffer) => ((TorchBuffer)buffer).Tensor;

    private static Tensor Rows(DeviceBuffer buffer, int rows)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)rows, (uint)buffer.Rows);
        return Of(buffer).narrow(0, 0, rows);
    }

    private static Tensor Row(DeviceBuffer buffer, int row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)buffer.Rows);
        return Of(buffer).narrow(0, row, 1);
    }
}
