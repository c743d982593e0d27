using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>Device ops in pure C#. Called by one device thread.</summary>
internal sealed unsafe partial class CpuOps(DeviceId device, int threads) : IDeviceOps
{
    private readonly CpuBatch _batch = new();

    public DeviceId Device { get; } = device;

    public int Threads { get; } = threads;

    public DeviceBuffer Allocate(int rows, int columns, DType type = DType.Float32) => new CpuBuffer(rows, columns, type);

    public LinearWeight LoadLinear(LinearSource source) => new CpuLinear(source);

    public ExpertWeights LoadExperts(ExpertSource source) => new CpuExperts(source);

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
        var rows = (CpuBatch)batch;
        HostTensor source = ((CpuEmbedding)table).Source;
        float* to = Floats(output);
        for (int i = 0; i < rows.Rows; i++)
            source.ReadRow(rows.TokenIds[i], new Span<float>(to + ((long)i * output.Columns), table.Hidden));
    }

    public void RmsNorm(int rows, DeviceBuffer input, VectorWeight weight, float epsilon, DeviceBuffer output)
    {
        float* w = ((CpuVector)weight).Floats;
        for (int i = 0; i < rows; i++)
            NormRow(Row(input, i), w, weight.Length, epsilon, Row(output, i));
    }

    public void Linear(int rows, DeviceBuffer input, LinearWeight weight, DeviceBuffer output, LinearMode mode = LinearMode.Set)
    {
        for (int i = 0; i < rows; i++)
            LinearRow(Row(input, i), (CpuLinear)weight, Row(output, i), mode);
    }

    public void NormLinear(int rows, DeviceBuffer input, VectorWeight norm, float epsilon, LinearWeight weight, DeviceBuffer output)
    {
        using var scratch = new NativeBlock(4L * norm.Length, zeroed: false);
        for (int i = 0; i < rows; i++)
        {
            NormRow(Row(input, i), ((CpuVector)norm).Floats, norm.Length, epsilon, (float*)scratch.Pointer);
            LinearRow((float*)scratch.Pointer, (CpuLinear)weight, Row(output, i), LinearMode.Set);
        }
    }

    public void GatedSilu(int rows, DeviceBuffer gateUp, DeviceBuffer output)
    {
        for (int i = 0; i < rows; i++)
            SiluRow(Row(gateUp, i), output.Columns, Row(output, i));
    }

    public void AddGated(int rows, DeviceBuffer input, DeviceBuffer gate, DeviceBuffer output)
    {
        for (int i = 0; i < rows; i++)
        {
            float factor = 1 / (1 + MathF.Exp(-Row(gate, i)[0]));
            for (int j = 0; j < input.Columns; j++)
                Row(output, i)[j] = MathF.FusedMultiplyAdd(factor, Row(input, i)[j], Row(output, i)[j]);
        }
    }

    public void GatherRows(ReadOnlySpan<int> rowIndices, DeviceBuffer input, DeviceBuffer output)
    {
        for (int i = 0; i < rowIndices.Length; i++)
            Buffer.MemoryCopy(Row(input, rowIndices[i]), Row(output, i), 4L * output.Columns, 4L * input.Columns);
    }

    public void CopyRows(int rows, DeviceBuffer input, DeviceBuffer output)
    {
        for (int i = 0; i < rows; i++)
            Buffer.MemoryCopy(Row(input, i), Row(output, i), 4L * output.Columns, 4L * input.Columns);
    }

    public ReadOnlySpan<float> ReadRow(DeviceBuffer buffer, int row) => new(Row(buffer, row), buffer.Columns);

    public void WriteRow(DeviceBuffer buffer, int row, ReadOnlySpan<float> values) =>
        values.CopyTo(new Span<float>(Row(buffer, row), buffer.Columns));

    public void RouteTopK(int rows, DeviceBuffer logits, bool renormalise, ExpertRouting routing)
    {
        var chosen = (CpuRouting)routing;
        chosen.ExpertCount = logits.Columns;
        for (int i = 0; i < rows; i++)
            RouteRow(Row(logits, i), logits.Columns, renormalise, chosen, i);
    }

    public void ExpertMlp(int rows, DeviceBuffer input, ExpertWeights experts, ExpertRouting routing, DeviceBuffer output)
    {
        var weights = (CpuExperts)experts;
        var chosen = (CpuRouting)routing;
        using var scratch = new NativeBlock(4L * ((3L * experts.Intermediate) + (2L * experts.Hidden)), zeroed: false);
        float* gateUp = (float*)scratch.Pointer;
        float* inner = gateUp + (2L * experts.Intermediate);
        float* result = inner + experts.Intermediate;
        float* sum = result + experts.Hidden;
        for (int i = 0; i < rows; i++)
        {
            new Span<float>(sum, experts.Hidden).Clear();
            for (int k = 0; k < routing.TopK; k++)
            {
                int expert = chosen.Experts[(i * routing.TopK) + k];
                float factor = chosen.Factors[(i * routing.TopK) + k];
                LinearRow(Row(input, i), weights.GateUp[expert], gateUp, LinearMode.Set);
                SiluRow(gateUp, experts.Intermediate, inner);
                LinearRow(inner, weights.Down[expert], result, LinearMode.Set);
                for (int j = 0; j < experts.Hidden; j++)
                    sum[j] = MathF.FusedMultiplyAdd(factor, result[j], sum[j]);
            }

            for (int j = 0; j < experts.Hidden; j++)
                Row(output, i)[j] += sum[j];
        }
    }

    public void Dispose() => _batch.Dispose();

    private static float* Floats(DeviceBuffer buffer) => ((CpuBuffer)buffer).Floats;

    private static float* Row(DeviceBuffer buffer, int row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)buffer.Rows);
        return Floats(buffer) + ((long)row * buffer.Columns);
    }
}
