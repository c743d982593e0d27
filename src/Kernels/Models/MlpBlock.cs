using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>The second half of a layer with its norm: hidden += Mlp(norm(hidden)), dense or with experts.</summary>
internal abstract class MlpBlock : IDisposable
{
    /// <summary>Adds the block's output for rows [0, rows) to the residual stream.</summary>
    public abstract void Forward(IDeviceOps ops, int rows, DecoderWorkspace workspace);

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>down(silu(gate x) * up x).</summary>
internal sealed class GatedMlp : MlpBlock
{
    private readonly VectorWeight _norm;
    private readonly LinearWeight _gateUp;
    private readonly RowParallelLinear _down;
    private readonly float _epsilon;
    private readonly int _width;

    public GatedMlp(WeightLoader loader, ModelConfig config, string prefix)
    {
        _epsilon = config.NormEpsilon;
        Share columns = loader.Partition.Intermediate;
        _width = columns.Count;
        try
        {
            _norm = loader.Vector($"{prefix}.post_attention_layernorm.weight", config.HiddenSize);
            _gateUp = loader.ColumnParallel(config.MlpBias, config.HiddenSize,
                new LinearRows($"{prefix}.mlp.gate_proj", config.IntermediateSize, columns), new LinearRows($"{prefix}.mlp.up_proj", config.IntermediateSize, columns));
            _down = loader.RowParallel(config.MlpBias, $"{prefix}.mlp.down_proj", columns, config.IntermediateSize, config.HiddenSize);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override void Forward(IDeviceOps ops, int rows, DecoderWorkspace workspace)
    {
        GatedBuffers buffers = workspace.Gated(_width);
        ops.NormLinear(rows, workspace.Hidden, _norm, _epsilon, _gateUp, buffers.GateUp);
        ops.GatedSilu(rows, buffers.GateUp, buffers.Activated);
        _down.AddTo(ops, rows, buffers.Activated, workspace, ShardTraffic.MlpSum);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _norm?.Dispose();
        _gateUp?.Dispose();
        _down?.Dispose();
    }
}
