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
        if (workspace.Ranks is { } ranks)
        {
            SumOverRanks(ops, rows, workspace, ranks);
            return;
        }
        ops.ExpertMlp(rows, buffers.Normed, _experts, buffers.Routing, workspace.Hidden);
        _shared?.Forward(ops, rows, workspace);
    }

    // The outputs of the shared expert, then those of every row's experts: they are summed over the ranks one by one and combined
    // afterwards, so that the order of additions is that of one shard.
    private void SumOverRanks(IDeviceOps ops, int rows, DecoderWorkspace workspace, TensorRanks ranks)
    {
        ExpertBuffers buffers = workspace.Experts!;
        DeviceBuffer partial = workspace.Partial!;
        int first = _shared is null ? 0 : rows;
        _shared?.Compute(ops, rows, workspace, partial);
        ops.ExpertOutputs(rows, buffers.Normed, _experts, buffers.Routing, partial, first);
        ranks.Sum(ops, first + (rows * buffers.Routing.TopK), partial, ShardTraffic.ExpertSum);
        ops.CombineExperts(rows, partial, first, buffers.Routing, workspace.Hidden);
        if (_shared is not null)
            ops.AddGated(rows, partial, buffers.SharedGate, workspace.Hidden);
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
        private readonly RowParallelLinear _down;
        private readonly LinearWeight _gate;
        private readonly int _width;

        public SharedExpert(WeightLoader loader, int hidden, int width, string block)
        {
            Share columns = loader.Partition.SharedColumns;
            _width = columns.Count;
            try
            {
                _gateUp = loader.ColumnParallel(false, hidden,
                    new LinearRows($"{block}.shared_expert.gate_proj", width, columns), new LinearRows($"{block}.shared_expert.up_proj", width, columns));
                _down = loader.RowParallel(false, $"{block}.shared_expert.down_proj", columns, width, hidden);
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
            Compute(ops, rows, workspace, buffers.Shared);
            ops.AddGated(rows, buffers.Shared, buffers.SharedGate, workspace.Hidden);
        }

        /// <summary>This rank's part of the output, and the gate.</summary>
        public void Compute(IDeviceOps ops, int rows, DecoderWorkspace workspace, DeviceBuffer output)
        {
            ExpertBuffers buffers = workspace.Experts!;
            GatedBuffers gated = workspace.Gated(_width);
            ops.Linear(rows, buffers.Normed, _gateUp, gated.GateUp);
            ops.GatedSilu(rows, gated.GateUp, gated.Activated);
            ops.Linear(rows, gated.Activated, _down.Weight, output);
            ops.Linear(rows, buffers.Normed, _gate, buffers.SharedGate);
        }

        public void Dispose()
        {
            _gateUp?.Dispose();
            _down?.Dispose();
            _gate?.Dispose();
        }
    }
}
