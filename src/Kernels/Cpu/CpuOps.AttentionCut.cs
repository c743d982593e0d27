using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

internal sealed unsafe partial class CpuOps
{
    // Rows times heads of a task: K and V of a chunk stay in the first-level caches while this many queries use them.
    private const int QueriesPerTile = 64;

    // Tasks per thread from which a thread that is late costs little.
    private const int TasksPerThread = 4;

    private const long MaxStateBytes = 64L << 20;

    /// <summary>Cuts a step into tasks and gives them scratch; returns the step's multiply-adds or so.</summary>
    private long Cut(CpuBatch step, ref AttentionJob job)
    {
        long spread = ((long)step.Rows * job.KvHeads / (2 * _pool.Threads)) + 1;
        int rowsPerTile = (int)Math.Min(Math.Max(1, QueriesPerTile / job.Group), spread);
        job.Cut.TileCount = CountTiles(step, rowsPerTile, out int longest, out long pairs);
        rowsPerTile = Math.Min(rowsPerTile, longest);
        CutHeadsAndKeys(step, ref job, rowsPerTile);

        long stateBytes = 4L * job.Cut.Segments * step.Rows * job.GroupedHeads * AttentionSizes.StateFloats(job.HeadDim);
        long tileBytes = (((long)job.Cut.TileCount * sizeof(AttentionTile)) + 63) & ~63L;
        job.ScratchStride = (_kernels.AttentionScratchBytes(job, rowsPerTile) + 63) & ~63L;
        byte* scratch = _attentionScratch.Get(tileBytes + stateBytes + (_pool.Threads * job.ScratchStride)).Pointer;
        job.Cut.Tiles = (AttentionTile*)scratch;
        job.Cut.States = (float*)(scratch + tileBytes);
        job.Scratch = scratch + tileBytes + stateBytes;
        FillTiles(step, rowsPerTile, job.Cut.Tiles);
        return 2 * pairs * job.GroupedHeads * job.HeadDim;
    }

    /// <summary>
    /// Few queries read memory at its speed: a task takes all heads, and if there are too few tiles for the threads, segments of keys
    /// become tasks, and only then groups of heads. Many queries compute: a task takes one head, whose keys stay in the nearest cache.
    /// </summary>
    private void CutHeadsAndKeys(CpuBatch step, ref AttentionJob job, int rowsPerTile)
    {
        long wanted = _pool.Threads == 1 ? 1 : TasksPerThread * _pool.Threads;
        job.Cut.HeadsPerTask = rowsPerTile * job.Group >= AttentionSizes.ManyQueries ? 1 : job.KvHeads;
        long tasks = (long)job.Cut.TileCount * job.HeadGroups;
        int segments = (LastKey(step) / AttentionSizes.SegmentKeys) + 1;
        long stateBytes = 4L * segments * step.Rows * job.GroupedHeads * AttentionSizes.StateFloats(job.HeadDim);
        if (segments > 1 && tasks < wanted && stateBytes <= MaxStateBytes)
        {
            job.Cut.Segments = segments;
            tasks *= segments;
        }

        while (job.Cut.HeadsPerTask > 1 && tasks < wanted)
        {
            job.Cut.HeadsPerTask = (job.Cut.HeadsPerTask + 1) / 2;
            tasks = (long)job.Cut.TileCount * job.HeadGroups * Math.Max(1, job.Cut.Segments);
        }
    }

    private static int LastKey(CpuBatch step)
    {
        int last = 0;
        for (int row = 0; row < step.Rows; row++)
            last = Math.Max(last, step.Positions[row]);
        return last;
    }

    private static int CountTiles(CpuBatch step, int rowsPerTile, out int longest, out long pairs)
    {
        int count = 0;
        (longest, pairs) = (1, 0);
        for (int s = 0; s < step.Sequences; s++)
        {
            int rows = step.RowStarts[s + 1] - step.RowStarts[s];
            if (rows == 0)
                continue;
            count += (rows + rowsPerTile - 1) / rowsPerTile;
            longest = Math.Max(longest, rows);
            pairs += (long)rows * (step.Positions[step.RowStarts[s + 1] - 1] + 1);
        }

        return count;
    }

    private static void FillTiles(CpuBatch step, int rowsPerTile, AttentionTile* tiles)
    {
        for (int s = 0; s < step.Sequences; s++)
        {
            int end = step.RowStarts[s + 1];
            for (int row = step.RowStarts[s]; row < end; row += rowsPerTile)
                *tiles++ = new AttentionTile(s, row, Math.Min(rowsPerTile, end - row));
        }
    }
}
