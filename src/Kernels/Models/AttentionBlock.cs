using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>Self-attention of one layer with its input norm: hidden += Attention(norm(hidden)).</summary>
internal sealed class AttentionBlock : IDisposable
{
    private readonly VectorWeight _norm;
    private readonly LinearWeight _qkv;
    private readonly LinearWeight _output;
    private readonly HeadNorms? _headNorms;
    private readonly float _epsilon;
    private readonly KeyRange _keys;

    public AttentionBlock(WeightLoader loader, ModelConfig config, string prefix, LayerSettings settings)
    {
        var layout = new QkvLayout(config.QueryHeads, config.KvHeads, config.HeadDim);
        string attention = $"{prefix}.self_attn";
        _epsilon = config.NormEpsilon;
        _keys = KeyRange.Sliding(settings.Window);
        try
        {
            _norm = loader.Vector($"{prefix}.input_layernorm.weight", config.HiddenSize);
            _qkv = loader.Linear(LinearRole.ColumnParallel, config.QkvBias, config.HiddenSize,
                ($"{attention}.q_proj", layout.QueryWidth), ($"{attention}.k_proj", layout.KvWidth), ($"{attention}.v_proj", layout.KvWidth));
            _output = loader.Linear(LinearRole.RowParallel, config.OutputBias, layout.QueryWidth, ($"{attention}.o_proj", config.HiddenSize));
            if (config.Family.HeadNorms)
                _headNorms = new HeadNorms(
                    loader.Vector($"{attention}.q_norm.weight", config.HeadDim), loader.Vector($"{attention}.k_norm.weight", config.HeadDim), _epsilon);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Adds the attention of the batch's rows to the residual stream; keys and values go to <paramref name="layer"/> of the cache.</summary>
    public void Forward(IDeviceOps ops, DeviceBatch batch, DecoderWorkspace workspace, RotaryTable rotary, KvCache cache, int layer)
    {
        int rows = batch.Batch.Rows;
        QkvLayout layout = workspace.Layout;
        ops.NormLinear(rows, workspace.Hidden, _norm, _epsilon, _qkv, workspace.Qkv);
        ops.Rotate(batch, workspace.Qkv, layout, rotary, _headNorms);
        ops.StoreKv(batch, workspace.Qkv, layout, cache, layer);
        ops.Attention(batch, workspace.Qkv, layout, cache, layer, _keys, workspace.Attended, workspace.LogSumExp);
        ops.Linear(rows, workspace.Attended, _output, workspace.Hidden, LinearMode.Add);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _norm?.Dispose();
        _qkv?.Dispose();
        _output?.Dispose();
        _headNorms?.Query.Dispose();
        _headNorms?.Key.Dispose();
    }
}
