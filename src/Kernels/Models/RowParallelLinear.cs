using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// A linear that ends a block: attention output or MLP down. With several ranks each holds a part of K; their outputs are summed, the
/// bias is added to the sum and the sum to the residual stream: the order in which one shard does it.
/// </summary>
/// <param name="weight">This rank's part, with its bias when it is the only one.</param>
/// <param name="bias">Bias of the sum over several ranks, or null.</param>
internal sealed class RowParallelLinear(LinearWeight weight, VectorWeight? bias) : IDisposable
{
    /// <summary>This rank's part.</summary>
    public LinearWeight Weight => weight;

    /// <summary>hidden += input Wᵀ + bias.</summary>
    public void AddTo(IDeviceOps ops, int rows, DeviceBuffer input, DecoderWorkspace workspace, int tag)
    {
        if (workspace.Ranks is not { } ranks)
        {
            ops.Linear(rows, input, weight, workspace.Hidden, LinearMode.Add);
            return;
        }
        ops.Linear(rows, input, weight, workspace.Partial!);
        ranks.Sum(ops, rows, workspace.Partial!, tag);
        ops.AddRows(rows, workspace.Partial!, bias, workspace.Hidden);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        weight.Dispose();
        bias?.Dispose();
    }
}
