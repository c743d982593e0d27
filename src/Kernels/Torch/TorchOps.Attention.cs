using Cluster.Kernels.Execution;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.Kernels.Torch;

internal sealed partial class TorchOps
{
    public void Rotate(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, RotaryTable table, HeadNorms? norms)
    {
        using DisposeScope scope = NewDisposeScope();
        var rows = (TorchBatch)batch;
        var rotary = (TorchRotary)table;
        Tensor all = Rows(qkv, rows.Batch.Rows);
        Tensor cosines = rotary.Cosines.index_select(0, rows.Positions).unsqueeze(1);   // [rows, 1, dimensions / 2]
        Tensor sines = rotary.Sines.index_select(0, rows.Positions).unsqueeze(1);
        foreach ((int first, int heads, VectorWeight? norm) in ((int, int, VectorWeight?)[])
            [(0, layout.QueryHeads, norms?.Query), (layout.QueryWidth, layout.KvHeads, norms?.Key)])
        {
            Tensor part = all.narrow(1, first, heads * layout.HeadDim).view(all.shape[0], heads, layout.HeadDim);
            Tensor values = norm is null ? part.clone() : Normalise(part, norm, norms!.Epsilon);
            Tensor a = values.narrow(2, 0, rotary.Half), b = values.narrow(2, rotary.Half, rotary.Half);
            part.copy_(values);
            part.narrow(2, 0, rotary.Half).copy_((a * cosines).Minus(b * sines));
            part.narrow(2, rotary.Half, rotary.Half).copy_((b * cosines).Plus(a * sines));
        }
    }

    public void StoreKv(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, KvCache cache, int layer)
    {
        using DisposeScope scope = NewDisposeScope();
        var rows = (TorchBatch)batch;
        var kv = (TorchKvCache)cache;
        Tensor all = Rows(qkv, rows.Batch.Rows);
        Tensor Part(int first, Tensor target) =>
            all.narrow(1, first, layout.KvWidth).reshape(all.shape[0], layout.KvHeads, layout.HeadDim).to(target.dtype);
        kv.Keys(layer).index_copy_(0, rows.Slots, Part(layout.QueryWidth, kv.Keys(layer)));
        kv.Values(layer).index_copy_(0, rows.Slots, Part(layout.QueryWidth + layout.KvWidth, kv.Values(layer)));
    }

    public void Attention(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, KvCache cache, int layer, KeyRange keys, DeviceBuffer output, DeviceBuffer logSumExp)
    {
        var rows = (TorchBatch)batch;
        var kv = (TorchKvCache)cache;
        ForwardBatch flat = rows.Batch;
        for (int sequence = 0; sequence < flat.Sequences; sequence++)
        {
            using DisposeScope scope = NewDisposeScope();
            using Tensor slots = rows.SlotsOf(sequence, flat.ContextLengths[sequence], kv.Shape.BlockSize);
            for (int row = flat.RowStarts[sequence]; row < flat.RowStarts[sequence + 1]; row++)
            {
                int position = flat.Positions[row];
                int start = Math.Max(keys.Start, keys.Window > 0 ? position - keys.Window + 1 : 0);
                int end = Math.Min(keys.End, position + 1);
                if (start < end)
                {
                    AttendRow(Row(qkv, row), layout, kv, layer, slots.narrow(0, start, end - start), Row(output, row), Row(logSumExp, row));
                    continue;
                }
                Row(output, row).Clear();
                Row(logSumExp, row).FillMinusInfinity();
            }
        }
    }

    public void MergeAttention(int rows, QkvLayout layout, DeviceBuffer output, DeviceBuffer logSumExp, DeviceBuffer otherOutput, DeviceBuffer otherLogSumExp)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor first = Rows(logSumExp, rows), second = Rows(otherLogSumExp, rows);
        Tensor high = maximum(first, second);
        high = high.where(high.isfinite(), zeros_like(high));   // two parts without keys: weights 0, sum 0, logarithm -inf
        Tensor firstWeight = first.Minus(high).exp(), secondWeight = second.Minus(high).exp();
        Tensor total = firstWeight.Plus(secondWeight), safe = total.AtLeast(float.Epsilon);
        Tensor Heads(DeviceBuffer buffer) => Rows(buffer, rows).narrow(1, 0, layout.QueryWidth).view(rows, layout.QueryHeads, layout.HeadDim);
        Tensor merged = (Heads(output) * firstWeight.unsqueeze(2)).Plus(Heads(otherOutput) * secondWeight.unsqueeze(2)) / safe.unsqueeze(2);
        Heads(output).copy_(merged);
        first.copy_(high.Plus(total.log()));
    }

    /// <summary>
    /// One query row over its own keys, gathered afresh: every shape follows from the row's position alone, so chunks and batches
    /// cannot change its bits.
    /// </summary>
    private static void AttendRow(Tensor qkv, QkvLayout layout, TorchKvCache kv, int layer, Tensor slots, Tensor output, Tensor logSumExp)
    {
        using DisposeScope scope = NewDisposeScope();
        // Query heads of the first and last group that are on other ranks come in as zeros, and what comes of them is left out.
        int before = layout.GroupOffset * layout.HeadDim, grouped = layout.KvHeads * layout.Group * layout.HeadDim;
        Tensor own = qkv.narrow(1, 0, layout.QueryWidth);
        Tensor padded = grouped == layout.QueryWidth ? own : nn.functional.pad(own, [before, grouped - before - layout.QueryWidth]);
        Tensor queries = padded.reshape(layout.KvHeads, layout.Group, layout.HeadDim);
        Tensor Gather(Tensor part) => part.index_select(0, slots).to(ScalarType.Float32).transpose(0, 1).contiguous();   // [kvHeads, keys, headDim]
        Tensor scores = queries.bmm(Gather(kv.Keys(layer)).transpose(1, 2)).Times(1 / MathF.Sqrt(layout.HeadDim));
        Tensor result = scores.softmax(-1).bmm(Gather(kv.Values(layer))).view(1, -1).narrow(1, before, layout.QueryWidth);
        output.narrow(1, layout.OutputOffset, layout.QueryWidth).copy_(result);
        logSumExp.narrow(1, 0, layout.QueryHeads).copy_(scores.logsumexp(-1).view(1, -1).narrow(1, layout.GroupOffset, layout.QueryHeads));
    }
}
