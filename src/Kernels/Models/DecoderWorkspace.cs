using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// The activations of one decoder, allocated once for the largest step; layers use them one after the other.
/// Rows = most tokens of a step; logits are computed in tiles of <see cref="LogitTile"/> rows.
/// </summary>
internal sealed class DecoderWorkspace : IDisposable
{
    private const long MaxLogitTileBytes = 64L << 20;
    private const int MaxLogitTile = 64;

    private readonly Dictionary<int, GatedBuffers> _gated = [];
    private readonly List<IDisposable> _owned = [];

    /// <param name="ops">Device.</param>
    /// <param name="config">The model.</param>
    /// <param name="part">What the shard holds of it.</param>
    /// <param name="rows">Most rows of a step.</param>
    public DecoderWorkspace(IDeviceOps ops, ModelConfig config, ShardPart part, int rows)
    {
        TensorPartition tensor = part.Tensor;
        try
        {
            Layout = tensor.Layout;
            Hidden = Own(ops.Allocate(rows, config.HiddenSize));
            Qkv = Own(ops.Allocate(rows, Layout.Width));
            Attended = Own(ops.Allocate(rows, tensor.OutputColumns.Count));
            LogSumExp = Own(ops.Allocate(rows, Layout.QueryHeads));
            LogitTile = LogitTileFor(config, rows);
            if (part.HasHead)
                AddLogits(ops, config, tensor);
            if (config.Layers.Any(layer => !layer.HasExperts))
                AddGated(ops, rows, tensor.Intermediate.Count);
            if (config.Experts is { } experts)
                AddExperts(ops, config, experts, tensor, rows);
            if (tensor.Size > 1)
                Partial = Own(ops.Allocate(rows * SummedRows(config), config.HiddenSize));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Where q, k and v lie in a row of <see cref="Qkv"/>.</summary>
    public QkvLayout Layout { get; }

    /// <summary>Residual stream [rows, hidden].</summary>
    public DeviceBuffer Hidden { get; }

    /// <summary>Queries, keys and values [rows, layout.Width].</summary>
    public DeviceBuffer Qkv { get; }

    /// <summary>Attention output [rows, columns of the output weight].</summary>
    public DeviceBuffer Attended { get; }

    /// <summary>Log-sum-exp of the attention [rows, queryHeads].</summary>
    public DeviceBuffer LogSumExp { get; }

    /// <summary>Rows of a tile of logits.</summary>
    public int LogitTile { get; }

    /// <summary>Rows whose logits are wanted [logitTile, hidden]; on the last stage.</summary>
    public DeviceBuffer? Selected { get; private set; }

    /// <summary>Their logits [logitTile, this rank's tokens]; on the last stage.</summary>
    public DeviceBuffer? Logits { get; private set; }

    /// <summary>Their logits [logitTile, vocabulary] when all ranks' are together; on rank 0 of several in the last stage.</summary>
    public DeviceBuffer? MergedLogits { get; private set; }

    /// <summary>This rank's part of what is summed over the ranks [rows * (chosen experts + 1), hidden]; null with one rank.</summary>
    public DeviceBuffer? Partial { get; }

    /// <summary>The ranks to sum with in this step; null with one rank.</summary>
    public TensorRanks? Ranks { get; set; }

    /// <summary>Buffers of expert layers; null for a dense model.</summary>
    public ExpertBuffers? Experts { get; private set; }

    /// <summary>Bytes that the constructor will allocate.</summary>
    public static long BytesFor(ModelConfig config, ShardPart part, int rows)
    {
        TensorPartition tensor = part.Tensor;
        long perRow = config.HiddenSize + tensor.Layout.Width + tensor.OutputColumns.Count + tensor.Layout.QueryHeads + 3L * tensor.Intermediate.Count;
        if (config.Experts is { } experts)
            perRow += 2L * config.HiddenSize + experts.Count + 1 + 3L * tensor.SharedColumns.Count;
        if (tensor.Size > 1)
            perRow += (long)SummedRows(config) * config.HiddenSize;
        long perLogits = part.HasHead ? (long)config.HiddenSize + tensor.Vocabulary.Count + (MergesLogits(tensor) ? config.VocabularySize : 0) : 0;
        return sizeof(float) * (rows * perRow + LogitTileFor(config, rows) * perLogits);
    }

    /// <summary>Buffers of a gated MLP of this width.</summary>
    public GatedBuffers Gated(int width) => _gated[width];

    /// <inheritdoc/>
    public void Dispose() => _owned.ForEach(buffer => buffer.Dispose());

    // The outputs of a row's experts and of the shared one are summed over the ranks before they are combined.
    private static int SummedRows(ModelConfig config) =>
        config.Experts is { } experts ? experts.PerToken + (experts.SharedIntermediateSize > 0 ? 1 : 0) : 1;

    private static bool MergesLogits(TensorPartition tensor) => tensor is { Size: > 1, Rank: 0 };

    private void AddLogits(IDeviceOps ops, ModelConfig config, TensorPartition tensor)
    {
        Selected = Own(ops.Allocate(LogitTile, config.HiddenSize));
        Logits = Own(ops.Allocate(LogitTile, tensor.Vocabulary.Count));
        if (MergesLogits(tensor))
            MergedLogits = Own(ops.Allocate(LogitTile, config.VocabularySize));
    }

    private static int LogitTileFor(ModelConfig config, int rows) =>
        (int)Math.Clamp(MaxLogitTileBytes / (sizeof(float) * (long)config.VocabularySize), 1, Math.Min(rows, MaxLogitTile));

    private void AddGated(IDeviceOps ops, int rows, int width)
    {
        if (!_gated.ContainsKey(width))
            _gated.Add(width, new GatedBuffers(Own(ops.Allocate(rows, 2 * width)), Own(ops.Allocate(rows, width))));
    }

    private void AddExperts(IDeviceOps ops, ModelConfig config, ExpertSettings experts, TensorPartition tensor, int rows)
    {
        if (experts.SharedIntermediateSize > 0)
            AddGated(ops, rows, tensor.SharedColumns.Count);
        Experts = new ExpertBuffers(
            Own(ops.Allocate(rows, config.HiddenSize)),
            Own(ops.Allocate(rows, experts.Count)),
            Own(ops.AllocateRouting(rows, experts.PerToken)),
            Own(ops.Allocate(rows, config.HiddenSize)),
            Own(ops.Allocate(rows, 1)));
    }

    private T Own<T>(T buffer)
        where T : IDisposable
    {
        _owned.Add(buffer);
        return buffer;
    }
}

/// <summary>Buffers of a gated MLP: gate and up side by side [rows, 2 * width], activated [rows, width].</summary>
internal sealed record GatedBuffers(DeviceBuffer GateUp, DeviceBuffer Activated);

/// <summary>Buffers of expert layers: normed [rows, hidden], router [rows, experts], decisions, shared output [rows, hidden], its gate [rows, 1].</summary>
internal sealed record ExpertBuffers(DeviceBuffer Normed, DeviceBuffer Router, ExpertRouting Routing, DeviceBuffer Shared, DeviceBuffer SharedGate);
