using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>Self-attention of one layer with its input norm: hidden += Attention(norm(hidden)).</summary>
internal sealed class AttentionBlock : IDisposable
{
    private readonly VectorWeight _norm;
    private readonly LinearWeight _qkv;
    private readonly RowParallelLinear _output;
    private readonly HeadNorms? _headNorms;
    private readonly float _epsilon;
    private readonly KeyRange _keys;

    public AttentionBlock(WeightLoader loader, ModelConfig config, string prefix, LayerSettings settings)
    {
        TensorPartition part = loader.Partition;
        string attention = $"{prefix}.self_attn";
        LinearRows Heads(string module, int heads, Share own) => new($"{attention}.{module}", heads * config.HeadDim, new Share(own.Start * config.HeadDim, own.Count * config.HeadDim));
        _epsilon = config.NormEpsilon;
        _keys = KeyRange.Sliding(settings.Window);
        try
        {
            _norm = loader.Vector($"{prefix}.input_layernorm.weight", config.HiddenSize);
            _qkv = loader.ColumnParallel(config.QkvBias, config.HiddenSize,
                Heads("q_proj", config.QueryHeads, part.QueryHeads), Heads("k_proj", config.KvHeads, part.KvHeads), Heads("v_proj", config.KvHeads, part.KvHeads));
            _output = loader.RowParallel(config.OutputBias, $"{attention}.o_proj", part.OutputColumns, config.QueryHeads * config.HeadDim, config.HiddenSize);
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
        _output.AddTo(ops, rows, workspace.Attended, workspace, ShardTraffic.AttentionSum);
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
