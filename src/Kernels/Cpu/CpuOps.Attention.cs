using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

internal sealed unsafe partial class CpuOps
{
    public void Rotate(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, RotaryTable table, HeadNorms? norms)
    {
        var rotary = (CpuRotary)table;
        if (2 * rotary.Half > layout.HeadDim)
            throw new ArgumentException($"{2 * rotary.Half} rotary dimensions do not fit heads of {layout.HeadDim}.");
        AttentionJob job = JobFor(batch, qkv, layout);
        for (int row = 0; row < job.Rows; row++)
        {
            if ((uint)job.Positions[row] >= (uint)rotary.Positions)
                throw new ArgumentException($"Position {job.Positions[row]} of row {row} lies beyond the rotary table of {rotary.Positions}.");
        }

        job.Cosines = rotary.Cosines;
        job.Sines = rotary.Sines;
        job.RotaryHalf = rotary.Half;
        if (norms is not null)
        {
            if (norms.Query.Length != layout.HeadDim || norms.Key.Length != layout.HeadDim)
                throw new ArgumentException($"Head norms of {norms.Query.Length} and {norms.Key.Length} do not fit heads of {layout.HeadDim}.");
            job.QueryNorm = ((CpuVector)norms.Query).Floats;
            job.KeyNorm = ((CpuVector)norms.Key).Floats;
            job.Epsilon = norms.Epsilon;
        }

        _kernels.Rotate(_pool, job);
    }

    public void StoreKv(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, KvCache cache, int layer)
    {
        AttentionJob job = JobFor(batch, qkv, layout);
        AddCache(ref job, (CpuKvCache)cache, layer);
        long slots = (long)cache.Shape.Blocks * cache.Shape.BlockSize;
        for (int row = 0; row < job.Rows; row++)
        {
            if ((uint)job.Slots[row] >= slots)
                throw new ArgumentException($"Slot {job.Slots[row]} of row {row} lies beyond the cache of {slots}.");
        }

        _kernels.StoreKv(_pool, job);
    }

    public void Attention(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout, KvCache cache, int layer, KeyRange keys, DeviceBuffer output, DeviceBuffer logSumExp)
    {
        var step = (CpuBatch)batch;
        AttentionJob job = JobFor(batch, qkv, layout);
        AddCache(ref job, (CpuKvCache)cache, layer);
        if (step.CheckedAgainst != cache)
            CheckBlocks(step, cache.Shape);
        step.CheckedAgainst = (CpuKvCache)cache;
        job.Range = keys;
        job.BlockTable = step.BlockTable;
        job.BlockStarts = step.BlockStarts;
        job.Output = Matrix(output, step.Rows, layout.OutputOffset + layout.QueryWidth) + layout.OutputOffset;
        job.OutputStride = output.Columns;
        job.LogSumExp = Matrix(logSumExp, step.Rows, layout.QueryHeads);
        job.LogSumExpStride = logSumExp.Columns;
        if (step.Rows == 0)
            return;
        long work = Cut(step, ref job);
        _kernels.Attention(_pool, job, work);
    }

    public void MergeAttention(int rows, QkvLayout layout, DeviceBuffer output, DeviceBuffer logSumExp, DeviceBuffer otherOutput, DeviceBuffer otherLogSumExp)
    {
        float* o = Matrix(output, rows, layout.QueryWidth), other = Matrix(otherOutput, rows, layout.QueryWidth);
        float* lse = Matrix(logSumExp, rows, layout.QueryHeads), otherLse = Matrix(otherLogSumExp, rows, layout.QueryHeads);
        for (int row = 0; row < rows; row++)
        {
            for (int head = 0; head < layout.QueryHeads; head++)
            {
                float* a = o + ((long)row * output.Columns) + ((long)head * layout.HeadDim);
                float* b = other + ((long)row * otherOutput.Columns) + ((long)head * layout.HeadDim);
                MergeHead(a, lse + ((long)row * logSumExp.Columns) + head, b, otherLse[((long)row * otherLogSumExp.Columns) + head], layout.HeadDim);
            }
        }
    }

    /// <summary>Weights e^(lse - larger lse); a part without keys (-inf) leaves the other as it is.</summary>
    private void MergeHead(float* output, float* logSumExp, float* other, float otherLogSumExp, int width)
    {
        if (float.IsNegativeInfinity(otherLogSumExp))
            return;
        float larger = *logSumExp > otherLogSumExp ? *logSumExp : otherLogSumExp;
        float weight = LaneMath<LanesScalar, float>.Exp(*logSumExp - larger);
        float otherWeight = LaneMath<LanesScalar, float>.Exp(otherLogSumExp - larger);
        float total = weight + otherWeight;
        weight /= total;
        for (int i = 0; i < width; i++)
            output[i] *= weight;
        _kernels.AddScaled(output, other, otherWeight / total, width);
        *logSumExp = larger + (float)Math.Log(total);
    }

    private static AttentionJob JobFor(DeviceBatch batch, DeviceBuffer qkv, QkvLayout layout)
    {
        var step = (CpuBatch)batch;
        if (!layout.IsValid)
            throw new ArgumentException($"{layout.QueryHeads} query heads cannot share {layout.KvHeads} KV heads in groups of {layout.Group} from {layout.GroupOffset} on.");
        return new AttentionJob
        {
            Qkv = Matrix(qkv, step.Rows, layout.Width),
            QkvStride = qkv.Columns,
            QueryHeads = layout.QueryHeads,
            KvHeads = layout.KvHeads,
            Group = layout.Group,
            GroupOffset = layout.GroupOffset,
            HeadDim = layout.HeadDim,
            Rows = step.Rows,
            Positions = step.Positions,
            Slots = step.Slots,
        };
    }

    private static void AddCache(ref AttentionJob job, CpuKvCache cache, int layer)
    {
        if (cache.Shape.KvHeads != job.KvHeads || cache.Shape.HeadDim != job.HeadDim)
            throw new ArgumentException($"A cache of {cache.Shape.KvHeads} heads of {cache.Shape.HeadDim} does not fit {job.KvHeads} of {job.HeadDim}.");
        job.Cache = cache.Layer(layer);
        job.Layout = cache.Layout;
        (job.BlockSize, job.KvType) = (cache.Shape.BlockSize, cache.Shape.Type);
    }

    private static void CheckBlocks(CpuBatch step, KvCacheShape shape)
    {
        for (int s = 0; s < step.Sequences; s++)
        {
            int blocks = step.BlockStarts[s + 1] - step.BlockStarts[s];
            for (int row = step.RowStarts[s]; row < step.RowStarts[s + 1]; row++)
            {
                if (step.Positions[row] / shape.BlockSize >= blocks)
                    throw new ArgumentException($"Position {step.Positions[row]} of row {row} lies beyond its {blocks} blocks of {shape.BlockSize}.");
            }
        }

        for (int i = step.BlockStarts[0]; i < step.BlockStarts[step.Sequences]; i++)
        {
            if ((uint)step.BlockTable[i] >= (uint)shape.Blocks)
                throw new ArgumentException($"Block {step.BlockTable[i]} lies beyond the cache of {shape.Blocks}.");
        }
    }
}
