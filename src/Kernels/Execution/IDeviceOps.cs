namespace Cluster.Kernels.Execution;

/// <summary>
/// The waist: every operation that model code may ask of a device. Model code is written once against it; each device
/// library implements it. All matrices are row-major, activations are fp32 unless a buffer says otherwise, and a row's
/// result never depends on the other rows of the call (architecture: invariant 3). Only the device's own
/// <see cref="DeviceThread"/> calls these methods.
/// </summary>
public interface IDeviceOps : IDisposable
{
    /// <summary>The device these ops run on.</summary>
    DeviceId Device { get; }

    // ---- memory and weights ----

    /// <summary>A zeroed buffer.</summary>
    DeviceBuffer Allocate(int rows, int columns, DType type = DType.Float32);

    /// <summary>Packs a linear weight; several parts are stacked along the output (q, k, v or gate, up).</summary>
    LinearWeight LoadLinear(LinearSource source);

    /// <summary>Packs the experts of one layer.</summary>
    ExpertWeights LoadExperts(ExpertSource source);

    /// <summary>Loads a vector, widened to fp32.</summary>
    VectorWeight LoadVector(HostTensor source);

    /// <summary>Makes the embedding rows readable; the source stays mapped for the life of the table.</summary>
    EmbeddingTable LoadEmbedding(HostTensor source);

    /// <summary>Loads rotary tables: <paramref name="cosines"/> and <paramref name="sines"/> are [positions, dimensions / 2].</summary>
    RotaryTable LoadRotary(ReadOnlySpan<float> cosines, ReadOnlySpan<float> sines, int dimensions);

    /// <summary>Allocates the paged KV cache of a shard.</summary>
    KvCache AllocateKvCache(KvCacheShape shape);

    /// <summary>Room for routing decisions.</summary>
    ExpertRouting AllocateRouting(int maxRows, int topK);

    /// <summary>Brings a batch's index arrays to the device; valid until the next call.</summary>
    DeviceBatch Prepare(ForwardBatch batch);

    // ---- rows ----

    /// <summary>output[i] = table[tokenIds[i]].</summary>
    void EmbedRows(DeviceBatch batch, EmbeddingTable table, DeviceBuffer output);

    /// <summary>output = input / rms(input) * weight, per row of <c>weight.Length</c> elements.</summary>
    void RmsNorm(int rows, DeviceBuffer input, VectorWeight weight, float epsilon, DeviceBuffer output);

    /// <summary>output = input Wᵀ + bias, or output += with <see cref="LinearMode.Add"/>.</summary>
    void Linear(int rows, DeviceBuffer input, LinearWeight weight, DeviceBuffer output, LinearMode mode = LinearMode.Set);

    /// <summary><see cref="RmsNorm"/> and <see cref="Linear"/> in one: output = norm(input) Wᵀ + bias.</summary>
    void NormLinear(int rows, DeviceBuffer input, VectorWeight norm, float epsilon, LinearWeight weight, DeviceBuffer output);

    /// <summary>output[i, j] = silu(gateUp[i, j]) * gateUp[i, width + j] with width = output.Columns.</summary>
    void GatedSilu(int rows, DeviceBuffer gateUp, DeviceBuffer output);

    /// <summary>output += sigmoid(gate[:, 0]) * input, row by row (shared expert).</summary>
    void AddGated(int rows, DeviceBuffer input, DeviceBuffer gate, DeviceBuffer output);

    /// <summary>output[i] = input[rowIndices[i]].</summary>
    void GatherRows(ReadOnlySpan<int> rowIndices, DeviceBuffer input, DeviceBuffer output);

    /// <summary>Copies rows [0, rows) of input to output.</summary>
    void CopyRows(int rows, DeviceBuffer input, DeviceBuffer output);

    /// <summary>One row as fp32 in host memory; valid until the next op.</summary>
    ReadOnlySpan<float> ReadRow(DeviceBuffer buffer, int row);

    /// <summary>Host threads that <see cref="ReadRows"/> uses.</summary>
    int ReaderThreads { get; }

    /// <summary>
    /// Hands rows [0, rows) to a reader as fp32 in host memory, each once, on up to <see cref="ReaderThreads"/> threads at
    /// once and in no order; returns when all are read. A device whose rows come to the host one by one uses one thread.
    /// </summary>
    void ReadRows(DeviceBuffer buffer, int rows, RowReader reader);

    /// <summary>Overwrites one fp32 row from host memory.</summary>
    void WriteRow(DeviceBuffer buffer, int row, ReadOnlySpan<float> values);

    /// <summary>
    /// Rows [0, rows) as fp32 in host memory, one after the other; valid until the next op. What is written there is in the buffer after
    /// <see cref="StoreHostRows"/>.
    /// </summary>
    Span<float> HostRows(DeviceBuffer buffer, int rows);

    /// <summary>Brings what was written into <see cref="HostRows"/> of the same buffer and number of rows to the device.</summary>
    void StoreHostRows(DeviceBuffer buffer, int rows);

    /// <summary>output += input (+ bias, which is added to the input first), row by row of <c>input.Columns</c> elements.</summary>
    void AddRows(int rows, DeviceBuffer input, VectorWeight? bias, DeviceBuffer output);

    // ---- attention ----

    /// <summary>
    /// In place on the q and k parts of <paramref name="qkv"/>: optional per-head RMS norm (Qwen3), then rotary
    /// embedding at each row's position, pairing element i with i + dimensions / 2 (Hugging Face's layout).
    /// </summary>
    void Rotate(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, RotaryTable table, HeadNorms? norms);

    /// <summary>Writes each row's k and v to its slot of the cache.</summary>
    void StoreKv(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, KvCache cache, int layer);

    /// <summary>
    /// Causal attention of every row over the cached keys of its own sequence that lie in <paramref name="keys"/>:
    /// output [rows, queryHeads * headDim], logSumExp [rows, queryHeads] (natural logarithm of the sum of exp(score)).
    /// A row without any key gets output 0 and logSumExp -inf. <paramref name="keys"/>.Window &gt; 0 limits a row at
    /// position p to keys at positions &gt; p - window.
    /// </summary>
    void Attention(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, KvCache cache, int layer, KeyRange keys, DeviceBuffer output, DeviceBuffer logSumExp);

    /// <summary>Merges a second partial result into the first, by log-sum-exp, in fp32.</summary>
    void MergeAttention(int rows, QkvLayout layout, DeviceBuffer output, DeviceBuffer logSumExp, DeviceBuffer otherOutput, DeviceBuffer otherLogSumExp);

    // ---- experts ----

    /// <summary>Chooses experts from router logits [rows, experts]: ties to the lower id, softmax over all experts first.</summary>
    void RouteTopK(int rows, DeviceBuffer logits, bool renormalise, ExpertRouting routing);

    /// <summary>output += Σ over the row's experts, by ascending expert id, of factor * down(silu(gate x) * up x).</summary>
    void ExpertMlp(int rows, DeviceBuffer input, ExpertWeights experts, ExpertRouting routing, DeviceBuffer output);

    /// <summary>output[firstRow + i * topK + k] = down(silu(gate x) * up x) of row i and the k-th of its experts, by ascending expert id.</summary>
    void ExpertOutputs(int rows, DeviceBuffer input, ExpertWeights experts, ExpertRouting routing, DeviceBuffer output, int firstRow);

    /// <summary>output += Σ over the row's experts, by ascending expert id, of factor * what <see cref="ExpertOutputs"/> has left for it in outputs.</summary>
    void CombineExperts(int rows, DeviceBuffer outputs, int firstRow, ExpertRouting routing, DeviceBuffer output);
}

/// <summary>Reads a row; may not throw and may not call ops.</summary>
/// <param name="row">Which row.</param>
/// <param name="values">Its elements; valid during the call.</param>
/// <param name="thread">Which of <see cref="IDeviceOps.ReaderThreads"/> reads it: no two calls at the same time have the same.</param>
public delegate void RowReader(int row, ReadOnlySpan<float> values, int thread);

/// <summary>What a linear op does with its output.</summary>
public enum LinearMode
{
    /// <summary>output = result.</summary>
    Set,

    /// <summary>output += result.</summary>
    Add,
}

/// <summary>How a linear weight takes part in tensor parallelism, which fixes its summation order.</summary>
public enum LinearRole
{
    /// <summary>Split along the output: one sum over all of K, k ascending.</summary>
    ColumnParallel,

    /// <summary>Split along K: 8 fixed segments of K, merged by a balanced binary tree, so that 1, 2, 4 and 8 ranks give the same bits.</summary>
    RowParallel,
}

/// <summary>Where a linear weight comes from.</summary>
/// <param name="Parts">Tensors [out_i, in], stacked along the output.</param>
/// <param name="Biases">One bias [out_i] per part, or empty.</param>
/// <param name="Role">Summation order.</param>
/// <param name="Type">Stored type, which may be <see cref="DType.Q8_0"/> or <see cref="DType.Q4_0"/>; null keeps the checkpoint's.</param>
/// <param name="Identity">Names the contents of all parts and biases: devices of a process may share what they pack of equal ones; null = never.</param>
public sealed record LinearSource(IReadOnlyList<HostTensor> Parts, IReadOnlyList<HostTensor> Biases, LinearRole Role, DType? Type = null, string? Identity = null)
{
    /// <summary>Segments of K in <see cref="LinearRole.RowParallel"/> on one shard.</summary>
    public const int RowParallelSegments = 8;

    /// <summary>Segments of K that these columns are summed in when the role is <see cref="LinearRole.RowParallel"/>: 1, 2, 4 or 8; a rank's part of K has fewer.</summary>
    public int Segments { get; init; } = RowParallelSegments;
}

/// <summary>Where the experts of a layer come from; each list has one tensor per expert. Type and Identity as in <see cref="LinearSource"/>.</summary>
public sealed record ExpertSource(IReadOnlyList<HostTensor> Gate, IReadOnlyList<HostTensor> Up, IReadOnlyList<HostTensor> Down, DType? Type = null, string? Identity = null)
{
    /// <summary>Segments of K in which down sums, as in <see cref="LinearSource.Segments"/>.</summary>
    public int Segments { get; init; } = LinearSource.RowParallelSegments;
}

/// <summary>
/// Where q, k and v lie in a fused row: q heads, then k heads, then v heads; and which k and v each q head reads: q head h that of
/// (<see cref="GroupOffset"/> + h) / <see cref="Group"/>.
/// </summary>
public sealed record QkvLayout(int QueryHeads, int KvHeads, int HeadDim)
{
    /// <summary>Query heads that share a KV head. Of the first and the last KV head there may be fewer here: the others are on other ranks.</summary>
    public int Group { get; init; } = KvHeads > 0 ? QueryHeads / KvHeads : 0;

    /// <summary>Query heads of the first KV head that come before the first one here.</summary>
    public int GroupOffset { get; init; }

    /// <summary>Column of the attention output that the first query head goes to; columns before it keep what they have.</summary>
    public int OutputOffset { get; init; }

    /// <summary>Whether the groups cover the query heads.</summary>
    public bool IsValid => KvHeads > 0 && Group > 0 && GroupOffset >= 0 && GroupOffset < Group && OutputOffset >= 0
        && (GroupOffset + QueryHeads + Group - 1) / Group == KvHeads;

    /// <summary>Columns of the q part.</summary>
    public int QueryWidth => QueryHeads * HeadDim;

    /// <summary>Columns of the k part, and of the v part.</summary>
    public int KvWidth => KvHeads * HeadDim;

    /// <summary>Columns in all.</summary>
    public int Width => QueryWidth + 2 * KvWidth;
}

/// <summary>Per-head norm weights of q and k, [headDim] each.</summary>
public sealed record HeadNorms(VectorWeight Query, VectorWeight Key, float Epsilon);

/// <summary>The part of the keys that one attention call covers, in token positions [Start, End); Window 0 = unlimited.</summary>
public readonly record struct KeyRange(int Start, int End, int Window)
{
    /// <summary>All keys.</summary>
    public static KeyRange All => new(0, int.MaxValue, 0);

    /// <summary>All keys within a sliding window of <paramref name="window"/> tokens (0 = unlimited).</summary>
    public static KeyRange Sliding(int window) => new(0, int.MaxValue, window);
}
