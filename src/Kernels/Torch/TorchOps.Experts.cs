using Cluster.Kernels.Execution;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.Kernels.Torch;

internal sealed partial class TorchOps
{
    public void RouteTopK(int rows, DeviceBuffer logits, bool renormalise, ExpertRouting routing)
    {
        using DisposeScope scope = NewDisposeScope();
        var chosen = (TorchRouting)routing;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(rows, routing.MaxRows);
        Tensor scores = Rows(logits, rows);
        // A stable sort leaves equal logits in the order of their ids; topk promises no order.
        (_, Tensor order) = scores.sort(dim: -1, descending: true, stable: true);
        (Tensor experts, _) = order.narrow(1, 0, routing.TopK).sort(dim: -1);
        Tensor factors = scores.softmax(-1).gather(1, experts);
        if (renormalise)
            factors = factors / factors.sum(-1, keepdim: true);
        chosen.Experts = experts.cpu().contiguous().data<long>().ToArray();
        chosen.Factors = factors.cpu().contiguous().data<float>().ToArray();
    }

    public void ExpertMlp(int rows, DeviceBuffer input, ExpertWeights experts, ExpertRouting routing, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        var weights = (TorchExperts)experts;
        var chosen = (TorchRouting)routing;
        Tensor source = Rows(input, rows), sum = zeros(rows, experts.Hidden, ScalarType.Float32, device);
        for (int expert = 0; expert < experts.Experts; expert++)
        {
            int[] places = [.. Enumerable.Range(0, rows * routing.TopK).Where(place => chosen.Experts[place] == expert)];
            if (places.Length == 0)
                continue;
            using Tensor indices = TorchTensors.Indices([.. places.Select(place => place / routing.TopK)], device);
            using Tensor factors = TorchTensors.FromValues([.. places.Select(place => chosen.Factors[place])], places.Length, 1, device);
            sum.IncreaseRows(indices, weights.Apply(expert, source.index_select(0, indices)) * factors);
        }
        Rows(output, rows).Increase(sum);
    }

    public void ExpertOutputs(int rows, DeviceBuffer input, ExpertWeights experts, ExpertRouting routing, DeviceBuffer output, int firstRow)
    {
        using DisposeScope scope = NewDisposeScope();
        var weights = (TorchExperts)experts;
        var chosen = (TorchRouting)routing;
        Tensor source = Rows(input, rows), target = Rows(output, firstRow + (rows * routing.TopK));
        for (int expert = 0; expert < experts.Experts; expert++)
        {
            int[] places = [.. Enumerable.Range(0, rows * routing.TopK).Where(place => chosen.Experts[place] == expert)];
            if (places.Length == 0)
                continue;
            using Tensor indices = TorchTensors.Indices([.. places.Select(place => place / routing.TopK)], device);
            using Tensor to = TorchTensors.Indices([.. places.Select(place => firstRow + place)], device);
            target.index_copy_(0, to, weights.Apply(expert, source.index_select(0, indices)));
        }
    }

    public void CombineExperts(int rows, DeviceBuffer outputs, int firstRow, ExpertRouting routing, DeviceBuffer output)
    {
        using DisposeScope scope = NewDisposeScope();
        var chosen = (TorchRouting)routing;
        int assignments = rows * routing.TopK;
        Tensor values = Rows(outputs, firstRow + assignments).narrow(0, firstRow, assignments);
        using Tensor factors = TorchTensors.FromValues(chosen.Factors.AsSpan(0, assignments), assignments, 1, device);
        Tensor weighted = (values * factors).view(rows, routing.TopK, outputs.Columns), sum = zeros(rows, outputs.Columns, ScalarType.Float32, device);
        for (int k = 0; k < routing.TopK; k++)
            sum.Increase(weighted.select(1, k));
        Rows(output, rows).Increase(sum);
    }
}
