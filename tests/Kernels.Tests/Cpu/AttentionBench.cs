using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>One sequence whose rows are stored and attended chunk by chunk, over shuffled blocks, beside a second sequence.</summary>
internal sealed class AttentionBench(QkvLayout layout, int blockSize, DType type, int threads, CpuPath path, int maxRows = 256) : IDisposable
{
    private readonly CpuBench _bench = new(threads, path);
    private readonly int[] _blocks = Shuffled((maxRows + blockSize - 1) / blockSize);
    private KvCache? _cache;

    private KvCache Cache => _cache ??= _bench.Ops.AllocateKvCache(new KvCacheShape(2, (2 * _blocks.Length) + 1, blockSize, layout.KvHeads, layout.HeadDim, type));

    /// <summary>Outputs and log-sum-exps of all rows.</summary>
    public (float[] Output, float[] LogSumExp) Run(float[] rows, int[] chunks, int window)
    {
        var output = new List<float>();
        var lse = new List<float>();
        int first = 0;
        foreach (int chunk in chunks)
        {
            (float[] o, float[] l) = Step(rows, first, chunk, [KeyRange.Sliding(window)]);
            output.AddRange(o);
            lse.AddRange(l);
            first += chunk;
        }

        return ([.. output], [.. lse]);
    }

    /// <summary>All rows at once, attended part by part and merged.</summary>
    public (float[] Output, float[] LogSumExp) RunParts(float[] rows, int count, KeyRange[] parts) => Step(rows, 0, count, parts);

    /// <summary>A step whose only block id is the given one.</summary>
    public void RunWithBlock(int block)
    {
        DeviceBatch batch = _bench.Ops.Prepare(Batch([0], [0], [0, 1], [1], [block], [0, 1]));
        using DeviceBuffer qkv = _bench.Buffer(1, layout.Width), output = _bench.Buffer(1, layout.QueryWidth), lse = _bench.Buffer(1, layout.QueryHeads);
        _bench.Ops.Attention(batch, qkv, layout, Cache, 0, KeyRange.All, output, lse);
    }

    public void Dispose()
    {
        _cache?.Dispose();
        _bench.Dispose();
    }

    private (float[] Output, float[] LogSumExp) Step(float[] rows, int first, int count, KeyRange[] parts)
    {
        // The neighbour has one row at position 0 in the last block and comes first in the batch.
        int[] positions = [0, .. Enumerable.Range(first, count)];
        int[] slots = [2 * _blocks.Length * blockSize, .. Enumerable.Range(first, count).Select(Slot)];
        DeviceBatch batch = _bench.Ops.Prepare(Batch(positions, slots, [0, 1, count + 1], [1, first + count], [2 * _blocks.Length, .. _blocks], [0, 1, 1 + _blocks.Length]));
        float[] values = [.. CpuBench.Values(layout.Width, 99), .. rows.AsSpan(first * layout.Width, count * layout.Width)];
        using DeviceBuffer qkv = _bench.Buffer(count + 1, layout.Width, values);
        using DeviceBuffer output = _bench.Buffer(count + 1, layout.QueryWidth), lse = _bench.Buffer(count + 1, layout.QueryHeads);
        using DeviceBuffer part = _bench.Buffer(count + 1, layout.QueryWidth), partLse = _bench.Buffer(count + 1, layout.QueryHeads);
        _bench.Ops.StoreKv(batch, qkv, layout, Cache, 1);
        _bench.Ops.Attention(batch, qkv, layout, Cache, 1, parts[0], output, lse);
        foreach (KeyRange range in parts.Skip(1))
        {
            _bench.Ops.Attention(batch, qkv, layout, Cache, 1, range, part, partLse);
            _bench.Ops.MergeAttention(count + 1, layout, output, lse, part, partLse);
        }

        return (_bench.Read(output, count + 1)[layout.QueryWidth..], _bench.Read(lse, count + 1)[layout.QueryHeads..]);
    }

    private int Slot(int position) => (_blocks[position / blockSize] * blockSize) + (position % blockSize);

    private static ForwardBatch Batch(int[] positions, int[] slots, int[] rowStarts, int[] contextLengths, int[] blocks, int[] blockStarts) => new()
    {
        Rows = positions.Length,
        Sequences = rowStarts.Length - 1,
        TokenIds = new int[positions.Length],
        Positions = positions,
        SlotMapping = slots,
        RowStarts = rowStarts,
        ContextLengths = contextLengths,
        BlockTable = blocks,
        BlockStarts = blockStarts,
        LogitRows = [],
        Logits = [],
    };

    private static int[] Shuffled(int count)
    {
        int[] blocks = [.. Enumerable.Range(0, 2 * count)];
        new Random(7).Shuffle(blocks);
        return blocks[..count];
    }
}
