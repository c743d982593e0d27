using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>Native copies of a batch's index arrays; one object per device, refilled by every step.</summary>
internal sealed unsafe class CpuBatch : DeviceBatch, IDisposable
{
    private NativeBlock _memory = new(4096, zeroed: false);
    private ForwardBatch? _batch;

    public override ForwardBatch Batch => _batch ?? throw new InvalidOperationException("No batch was prepared yet.");

    public int Rows { get; private set; }

    public int Sequences { get; private set; }

    public int* TokenIds { get; private set; }

    public int* Positions { get; private set; }

    public int* Slots { get; private set; }

    public int* RowStarts { get; private set; }

    public int* ContextLengths { get; private set; }

    public int* BlockTable { get; private set; }

    public int* BlockStarts { get; private set; }

    /// <summary>The cache whose limits the block table was checked against, if any: the layers of a step share one.</summary>
    public CpuKvCache? CheckedAgainst { get; set; }

    public void Fill(ForwardBatch batch)
    {
        CheckedAgainst = null;
        int blocks = batch.BlockStarts[batch.Sequences];
        long bytes = 4L * ((3L * batch.Rows) + (3L * batch.Sequences) + 2 + blocks);
        if (bytes > _memory.Bytes)
        {
            _memory.Dispose();
            _memory = new NativeBlock(2 * bytes, zeroed: false);
        }

        int* next = (int*)_memory.Pointer;
        (Rows, Sequences) = (batch.Rows, batch.Sequences);
        TokenIds = Copy(batch.TokenIds, batch.Rows, ref next);
        Positions = Copy(batch.Positions, batch.Rows, ref next);
        Slots = Copy(batch.SlotMapping, batch.Rows, ref next);
        RowStarts = Copy(batch.RowStarts, batch.Sequences + 1, ref next);
        ContextLengths = Copy(batch.ContextLengths, batch.Sequences, ref next);
        BlockTable = Copy(batch.BlockTable, blocks, ref next);
        BlockStarts = Copy(batch.BlockStarts, batch.Sequences + 1, ref next);
        _batch = batch;
    }

    public void Dispose() => _memory.Dispose();

    private static int* Copy(int[] source, int count, ref int* next)
    {
        int* start = next;
        source.AsSpan(0, count).CopyTo(new Span<int>(start, count));
        next += count;
        return start;
    }
}
