using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>Mixture of experts: the router's top-k experts, and where the family has one the expert that all tokens share.</summary>
internal sealed class MoeLayer : MlpBlock
{
    private readonly VectorWeight _norm;
    private readonly LinearWeight _router;
    private readonly ExpertWeights _experts;
    private readonly SharedExpert? _shared;
    private readonly float _epsilon;
    private readonly bool _renormalise;

    public MoeLayer(WeightLoader loader, ModelConfig config, ExpertSettings settings, string prefix)
    {
        ExpertFamily names = config.Family.Experts!;
        string block = $"{prefix}.{names.Block}";
        _epsilon = config.NormEpsilon;
        _renormalise = settings.Renormalise;
        try
        {
            _norm = loader.Vector($"{prefix}.post_attention_layernorm.weight", config.HiddenSize);
            _router = loader.Gate(config.HiddenSize, $"{block}.gate", settings.Count);
            _experts = loader.Experts($"{block}.experts", names, settings, config.HiddenSize);
            if (settings.SharedIntermediateSize > 0)
                _shared = new SharedExpert(loader, config.HiddenSize, settings.SharedIntermediateSize, block);
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
        ExpertBuffers buffers = workspace.Experts!;
        ops.RmsNorm(rows, workspace.Hidden, _norm, _epsilon, buffers.Normed);
        ops.Linear(rows, buffers.Normed, _router, buffers.Router);
        ops.RouteTopK(rows, buffers.Router, _renormalise, buffers.Routing);
        ops.ExpertMlp(rows, buffers.Normed, _experts, buffers.Routing, workspace.Hidden);
        _shared?.Forward(ops, rows, workspace);
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        _norm?.Dispose();
        _router?.Dispose();
        _experts?.Dispose();
        _shared?.Dispose();
    }

    /// <summary>hidden += sigmoid(gate x) * down(silu(gate_proj x) * up_proj x), on the normed rows of the expert layer.</summary>
    private sealed class SharedExpert : IDisposable
    {
        private readonly LinearWeight _gateUp;
        private readonly LinearWeight _down;
        private readonly LinearWeight _gate;
        private readonly int _width;

        public SharedExpert(WeightLoader loader, int hidden, int width, string block)
        {
            _width = width;
            try
            {
                _gateUp = loader.Linear(LinearRole.ColumnParallel, false, hidden, ($"{block}.shared_expert.gate_proj", width), ($"{block}.shared_expert.up_proj", width));
                _down = loader.Linear(LinearRole.RowParallel, false, width, ($"{block}.shared_expert.down_proj", hidden));
                _gate = loader.Gate(hidden, $"{block}.shared_expert_gate", 1);
            }
            catch
            {
                Dispose();
                throw;
            }
        }

        public void Forward(IDeviceOps ops, int rows, DecoderWorkspace workspace)
        {
            ExpertBuffers buffers = workspace.Experts!;
            GatedBuffers gated = workspace.Gated(_width);
            ops.Linear(rows, buffers.Normed, _gateUp, gated.GateUp);
            ops.GatedSilu(rows, gated.GateUp, gated.Activated);
            ops.Linear(rows, gated.Activated, _down, buffers.Shared);
            ops.Linear(rows, buffers.Normed, _gate, buffers.SharedGate);
            ops.AddGated(rows, buffers.Shared, buffers.SharedGate, workspace.Hidden);
        }

        public void Dispose()
        {
            _gateUp?.Dispose();
            _down?.Dispose();
            _gate?.Dispose();
        }
    }
}
