using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Benchmarks.Kernels;

/// <summary>The last rows of sequences over shuffled blocks; several layers in turn, so that no cache holds the next one.</summary>
internal sealed class AttentionBench : IDisposable
{
    private const long RotatedBytes = 200L << 20;
    private const int BlockSize = 16;
    private static readonly QkvLayout Layout = new(32, 8, 64);
    private readonly CpuOps _ops;
    private readonly KvCache _cache;
    private readonly DeviceBatch _batch;
    private readonly DeviceBuffer _qkv;
    private readonly DeviceBuffer _output;
    private readonly DeviceBuffer _logSumExp;
    private readonly int[] _blocks;
    private int _layer;

    public AttentionBench(int threads, DType type, int sequences, int rows, int keys)
    {
        _ops = new CpuOps(new DeviceId("cpu", 0), threads, CpuPaths.Best);
        Name = NameOf(type, sequences, rows, keys);
        IsDecode = rows == 1;
        Bytes = new KvCacheShape(1, 1, keys, Layout.KvHeads, Layout.HeadDim, type).BlockBytes * sequences;
        Flops = 4.0 * sequences * rows * (keys - (rows / 2)) * Layout.QueryWidth;
        int layers = Math.Clamp((int)(RotatedBytes / Bytes), 1, 64);
        _cache = _ops.AllocateKvCache(new KvCacheShape(layers, sequences * keys / BlockSize, BlockSize, Layout.KvHeads, Layout.HeadDim, type));
        int[] blocks = [.. Enumerable.Range(0, sequences * keys / BlockSize)];
        new Random(1).Shuffle(blocks);
        _blocks = blocks;
        _qkv = _ops.Allocate(sequences * keys, Layout.Width);
        var random = new Random(2);
        var row = new float[Layout.Width];
        for (int i = 0; i < sequences * keys; i++)
        {
            for (int d = 0; d < row.Length; d++)
                row[d] = random.NextSingle() - 0.5f;
            _ops.WriteRow(_qkv, i, row);
        }

        DeviceBatch all = _ops.Prepare(Step(sequences, 0, keys, blocks));
        for (int layer = 0; layer < layers; layer++)
            _ops.StoreKv(all, _qkv, Layout, _cache, layer);
        _output = _ops.Allocate(sequences * rows, Layout.QueryWidth);
        _logSumExp = _ops.Allocate(sequences * rows, Layout.QueryHeads);
        _batch = _ops.Prepare(Step(sequences, keys - rows, rows, blocks));
    }

    public string Name { get; }

    /// <summary>KV type, sequences x rows x keys.</summary>
    public static string NameOf(DType type, int sequences, int rows, int keys) => $"{type} {sequences} x {rows} x {keys}";

    /// <summary>Whether each sequence has one row: reading memory is the limit.</summary>
    public bool IsDecode { get; }

    /// <summary>Keys and values read once.</summary>
    public long Bytes { get; }

    public double Flops { get; }

    public void Run()
    {
        _ops.Attention(_batch, _qkv, Layout, _cache, _layer, KeyRange.All, _output, _logSumExp);
        _layer = (_layer + 1) % _cache.Shape.Layers;
    }

    /// <summary>Reading the same blocks in the same order without computing anything.</summary>
    public Action ScanOn(CpuThreadPool pool)
    {
        var scan = new BlockScan(pool, (CpuKvCache)_cache, _blocks);
        return () =>
        {
            scan.Read(_layer);
            _layer = (_layer + 1) % _cache.Shape.Layers;
        };
    }

    public void Dispose()
    {
        _cache.Dispose();
        _qkv.Dispose();
        _output.Dispose();
        _logSumExp.Dispose();
        _ops.Dispose();
    }

    /// <summary>Rows [first, first + rows) of every sequence.</summary>
    private static ForwardBatch Step(int sequences, int first, int rows, int[] blocks)
    {
        int perSequence = blocks.Length / sequences;
        int[] all = [.. Enumerable.Range(0, sequences)];
        return new ForwardBatch
        {
            Rows = sequences * rows,
            Sequences = sequences,
            TokenIds = new int[sequences * rows],
            Positions = [.. all.SelectMany(_ => Enumerable.Range(first, rows))],
            SlotMapping = [.. all.SelectMany(s => Enumerable.Range(first, rows).Select(p => (blocks[(s * perSequence) + (p / BlockSize)] * BlockSize) + (p % BlockSize)))],
            RowStarts = [.. Enumerable.Range(0, sequences + 1).Select(s => s * rows)],
            ContextLengths = [.. all.Select(_ => first + rows)],
            BlockTable = blocks,
            BlockStarts = [.. Enumerable.Range(0, sequences + 1).Select(s => s * perSequence)],
            LogitRows = [],
            Logits = [],
        };
    }
}
