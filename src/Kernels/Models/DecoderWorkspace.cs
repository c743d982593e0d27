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

    public DecoderWorkspace(IDeviceOps ops, ModelConfig config, int rows)
    {
        try
        {
            Layout = new QkvLayout(config.QueryHeads, config.KvHeads, config.HeadDim);
            Hidden = Own(ops.Allocate(rows, config.HiddenSize));
            Qkv = Own(ops.Allocate(rows, Layout.Width));
            Attended = Own(ops.Allocate(rows, Layout.QueryWidth));
            LogSumExp = Own(ops.Allocate(rows, Layout.QueryHeads));
            LogitTile = LogitTileFor(config, rows);
            Selected = Own(ops.Allocate(LogitTile, config.HiddenSize));
            Logits = Own(ops.Allocate(LogitTile, config.VocabularySize));
            if (config.Layers.Any(layer => !layer.HasExperts))
                AddGated(ops, rows, config.IntermediateSize);
            if (config.Experts is { } experts)
                AddExperts(ops, config, experts, rows);
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

    /// <summary>Attention output [rows, queryHeads * headDim].</summary>
    public DeviceBuffer Attended { get; }

    /// <summary>Log-sum-exp of the attention [rows, queryHeads].</summary>
    public DeviceBuffer LogSumExp { get; }

    /// <summary>Rows of a tile of logits.</summary>
    public int LogitTile { get; }

    /// <summary>Rows whose logits are wanted [logitTile, hidden].</summary>
    public DeviceBuffer Selected { get; }

    /// <summary>Their logits [logitTile, vocabulary].</summary>
    public DeviceBuffer Logits { get; }

    /// <summary>Buffers of expert layers; null for a dense model.</summary>
    public ExpertBuffers? Experts { get; private set; }

    /// <summary>Bytes that the constructor will allocate.</summary>
    public static long BytesFor(ModelConfig config, int rows)
    {
        var layout = new QkvLayout(config.QueryHeads, config.KvHeads, config.HeadDim);
        long perRow = config.HiddenSize + layout.Width + layout.QueryWidth + layout.QueryHeads + 3L * config.IntermediateSize;
        if (config.Experts is { } experts)
            perRow += 2L * config.HiddenSize + experts.Count + 1 + 3L * experts.SharedIntermediateSize;
        long tile = LogitTileFor(config, rows);
        return sizeof(float) * (rows * perRow + tile * ((long)config.HiddenSize + config.VocabularySize));
    }

    /// <summary>Buffers of a gated MLP of this width.</summary>
    public GatedBuffers Gated(int width) => _gated[width];

    /// <inheritdoc/>
    public void Dispose() => _owned.ForEach(buffer => buffer.Dispose());

    private static int LogitTileFor(ModelConfig config, int rows) =>
        (int)Math.Clamp(MaxLogitTileBytes / (sizeof(float) * (long)config.VocabularySize), 1, Math.Min(rows, MaxLogitTile));

    private void AddGated(IDeviceOps ops, int rows, int width)
    {
        if (!_gated.ContainsKey(width))
            _gated.Add(width, new GatedBuffers(Own(ops.Allocate(rows, 2 * width)), Own(ops.Allocate(rows, width))));
    }

    private void AddExperts(IDeviceOps ops, ModelConfig config, ExpertSettings experts, int rows)
    {
        if (experts.SharedIntermediateSize > 0)
            AddGated(ops, rows, experts.SharedIntermediateSize);
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
