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
    private readonly LinearWeight _down;
    private readonly float _epsilon;
    private readonly int _width;

    public GatedMlp(WeightLoader loader, ModelConfig config, string prefix)
    {
        _epsilon = config.NormEpsilon;
        _width = config.IntermediateSize;
        try
        {
            _norm = loader.Vector($"{prefix}.post_attention_layernorm.weight", config.HiddenSize);
            _gateUp = loader.Linear(LinearRole.ColumnParallel, config.MlpBias, config.HiddenSize, ($"{prefix}.mlp.gate_proj", _width), ($"{prefix}.mlp.up_proj", _width));
            _down = loader.Linear(LinearRole.RowParallel, config.MlpBias, _width, ($"{prefix}.mlp.down_proj", config.HiddenSize));
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
        ops.Linear(rows, buffers.Activated, _down, workspace.Hidden, LinearMode.Add);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _norm?.Dispose();
        _gateUp?.Dispose();
        _down?.Dispose();
    }
}
