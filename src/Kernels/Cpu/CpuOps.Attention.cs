using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

internal sealed unsafe partial class CpuOps
{
    public void Rotate(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, RotaryTable table, HeadNorms? norms)
    {
        var rows = (CpuBatch)batch;
        var rotary = (CpuRotary)table;
        for (int i = 0; i < rows.Rows; i++)
        {
            float* row = Row(qkv, i);
            long angle = (long)rows.Positions[i] * rotary.Half;
            for (int h = 0; h < layout.QueryHeads + layout.KvHeads; h++)
            {
                float* head = row + ((long)h * layout.HeadDim);
                if (norms is not null)
                    NormRow(head, ((CpuVector)(h < layout.QueryHeads ? norms.Query : norms.Key)).Floats, layout.HeadDim, norms.Epsilon, head);
                for (int j = 0; j < rotary.Half; j++)
                {
                    float cos = rotary.Cosines[angle + j], sin = rotary.Sines[angle + j];
                    float a = head[j], b = head[j + rotary.Half];
                    head[j] = MathF.FusedMultiplyAdd(-b, sin, a * cos);
                    head[j + rotary.Half] = MathF.FusedMultiplyAdd(a, sin, b * cos);
                }
            }
        }
    }

    public void StoreKv(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, KvCache cache, int layer)
    {
        var rows = (CpuBatch)batch;
        var kv = (CpuKvCache)cache;
        for (int i = 0; i < rows.Rows; i++)
        {
            float* row = Row(qkv, i);
            int slot = rows.Slots[i];
            for (int h = 0; h < layout.KvHeads; h++)
            {
                for (int d = 0; d < layout.HeadDim; d++)
                {
                    SetElement(kv, kv.Keys(layer), KeyIndex(kv, slot, h, d), row[layout.QueryWidth + (h * layout.HeadDim) + d]);
                    SetElement(kv, kv.Values(layer), ValueIndex(kv, slot, h, d), row[layout.QueryWidth + layout.KvWidth + (h * layout.HeadDim) + d]);
                }
            }
        }
    }

    public void Attention(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, KvCache cache, int layer, KeyRange keys, DeviceBuffer output, DeviceBuffer logSumExp)
    {
        var rows = (CpuBatch)batch;
        var kv = (CpuKvCache)cache;
        for (int s = 0; s < rows.Sequences; s++)
        {
            for (int i = rows.RowStarts[s]; i < rows.RowStarts[s + 1]; i++)
            {
                int position = rows.Positions[i];
                int start = Math.Max(keys.Start, keys.Window > 0 ? position - keys.Window + 1 : 0);
                int end = Math.Min(keys.End, position + 1);
                for (int h = 0; h < layout.QueryHeads; h++)
                    AttendRow(Row(qkv, i) + (h * layout.HeadDim), layout, kv, layer, rows.BlockTable + rows.BlockStarts[s], h, start, end, Row(output, i) + (h * layout.HeadDim), Row(logSumExp, i) + h);
            }
        }
    }

    public void MergeAttention(int rows, QkvLayout layout, DeviceBuffer output, DeviceBuffer logSumExp, DeviceBuffer otherOutput, DeviceBuffer otherLogSumExp)
    {
        for (int i = 0; i < rows; i++)
        {
            for (int h = 0; h < layout.QueryHeads; h++)
            {
                float a = Row(logSumExp, i)[h], b = Row(otherLogSumExp, i)[h];
                if (float.IsNegativeInfinity(b))
                    continue;
                float max = MathF.Max(a, b);
                float wa = MathF.Exp(a - max), wb = MathF.Exp(b - max);
                float total = wa + wb;
                for (int d = 0; d < layout.HeadDim; d++)
                {
                    float* to = Row(output, i) + (h * layout.HeadDim) + d;
                    *to = ((*to * wa) + (Row(otherOutput, i)[(h * layout.HeadDim) + d] * wb)) / total;
                }

                Row(logSumExp, i)[h] = max + MathF.Log(total);
            }
        }
    }

    private static void AttendRow(float* q, QkvLayout layout, CpuKvCache kv, int layer, int* blocks, int head, int start, int end, float* output, float* logSumExp)
    {
        int kvHead = head / (layout.QueryHeads / layout.KvHeads);
        float scale = 1 / MathF.Sqrt(layout.HeadDim);
        float max = float.NegativeInfinity, total = 0;
        new Span<float>(output, layout.HeadDim).Clear();
        for (int p = start; p < end; p++)
        {
            int slot = (blocks[p / kv.Shape.BlockSize] * kv.Shape.BlockSize) + (p % kv.Shape.BlockSize);
            float score = 0;
            for (int d = 0; d < layout.HeadDim; d++)
                score = MathF.FusedMultiplyAdd(q[d], Element(kv, kv.Keys(layer), KeyIndex(kv, slot, kvHead, d)), score);
            score *= scale;
            float newMax = MathF.Max(max, score);
            float shrink = MathF.Exp(max - newMax), weight = MathF.Exp(score - newMax);
            for (int d = 0; d < layout.HeadDim; d++)
                output[d] = MathF.FusedMultiplyAdd(weight, Element(kv, kv.Values(layer), ValueIndex(kv, slot, kvHead, d)), output[d] * shrink);
            total = (total * shrink) + weight;
            max = newMax;
        }

        for (int d = 0; start < end && d < layout.HeadDim; d++)
            output[d] /= total;
        *logSumExp = start < end ? max + MathF.Log(total) : float.NegativeInfinity;
    }

    private static long KeyIndex(CpuKvCache kv, int slot, int head, int d)
    {
        int block = slot / kv.Shape.BlockSize, offset = slot % kv.Shape.BlockSize;
        return ((((long)block * kv.Shape.KvHeads) + head) * kv.Shape.BlockSize * kv.Shape.HeadDim)
            + ((long)(offset / kv.Lanes) * kv.Lanes * kv.Shape.HeadDim) + ((long)d * kv.Lanes) + (offset % kv.Lanes);
    }

    private static long ValueIndex(CpuKvCache kv, int slot, int head, int d)
    {
        int block = slot / kv.Shape.BlockSize, offset = slot % kv.Shape.BlockSize;
        return (((((long)block * kv.Shape.KvHeads) + head) * kv.Shape.BlockSize) + offset) * kv.Shape.HeadDim + d;
    }

    private static float Element(CpuKvCache kv, byte* memory, long index) => kv.Shape.Type == DType.Float32
        ? ((float*)memory)[index]
        : BitConverter.UInt32BitsToSingle((uint)((ushort*)memory)[index] << 16);

    private static void SetElement(CpuKvCache kv, byte* memory, long index, float value)
    {
        if (kv.Shape.Type == DType.Float32)
        {
            ((float*)memory)[index] = value;
            return;
        }

        uint bits = BitConverter.SingleToUInt32Bits(value);
        ((ushort*)memory)[index] = (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
