using System.Runtime.CompilerServices;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Causal attention over paged keys, returning output and log-sum-exp. Online softmax over chunks of 128 keys inside
/// segments of 1024 keys, which are merged by log-sum-exp from first to last. Both boundaries are absolute positions, so a query's
/// arithmetic depends on its own key range only: the same bits in decode, whole and chunked prefill, and whether segments
/// run one after the other or on different threads. The query heads of a group and all rows of a tile share every load of K
/// and V; lines of the next stretch are asked for while one is computed.
/// </summary>
internal static unsafe partial class AttentionKernel<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    /// <summary>Runs the tasks of the job's cut.</summary>
    public static void Run(CpuThreadPool pool, AttentionJob job, long work)
    {
        int tasks = job.Cut.TileCount * job.HeadGroups;
        if (job.Cut.Segments == 0)
        {
            pool.Run(tasks, work, &job, &WholeTask);
            return;
        }

        pool.Run(tasks * job.Cut.Segments, work, &job, &SegmentTask);
        pool.Run(tasks, long.MaxValue, &job, &MergeTask);
    }

    /// <summary>Bytes each thread needs.</summary>
    public static long ScratchBytes(in AttentionJob job, int rowsPerTile) => Work.Bytes(job, rowsPerTile);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void WholeTask(void* argument, int chunk, int thread)
    {
        var job = (AttentionJob*)argument;
        var work = new Work(job, chunk, job->Scratch + (thread * job->ScratchStride));
        Begin(ref work);
        work.LookAhead(work.End);
        new Span<float>(work.Merged, work.Queries * work.StateFloats).Clear();
        for (int segment = work.Start / AttentionSizes.SegmentKeys; segment * AttentionSizes.SegmentKeys < work.End; segment++)
        {
            Attend(ref work, segment);
            for (int query = 0; query < work.Queries; query++)
            {
                if (work.Sees(query, segment))
                    Merge(work.Merged + (query * work.StateFloats), work.Maxima[query], work.Totals[query], work.Output(query), work.Width);
            }
        }

        for (int query = 0; query < work.Queries; query++)
            Finish(work, query, work.Merged + (query * work.StateFloats));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SegmentTask(void* argument, int chunk, int thread)
    {
        var job = (AttentionJob*)argument;
        (int task, int segment) = Math.DivRem(chunk, job->Cut.Segments);
        var work = new Work(job, task, job->Scratch + (thread * job->ScratchStride));
        Begin(ref work);
        if (Math.Max(work.Start, segment * AttentionSizes.SegmentKeys) >= Math.Min(work.End, (segment + 1) * AttentionSizes.SegmentKeys))
            return;
        work.LookAhead(Math.Min(work.End, (segment + 1) * AttentionSizes.SegmentKeys));
        Attend(ref work, segment);
        for (int query = 0; query < work.Queries; query++)
        {
            float* state = work.State(query, segment);
            (state[0], state[1]) = (work.Maxima[query], work.Totals[query]);
            Buffer.MemoryCopy(work.Output(query), state + AttentionSizes.StateHead, 4L * work.Width, 4L * work.Width);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void MergeTask(void* argument, int chunk, int thread)
    {
        var job = (AttentionJob*)argument;
        var work = new Work(job, chunk, job->Scratch + (thread * job->ScratchStride));
        FindKeys(ref work);
        for (int query = 0; query < work.Queries; query++)
        {
            new Span<float>(work.Merged, work.StateFloats).Clear();
            for (int segment = 0; segment < job->Cut.Segments; segment++)
            {
                float* state = work.State(query, segment);
                if (work.Sees(query, segment))
                    Merge(work.Merged, state[0], state[1], state + AttentionSizes.StateHead, work.Width);
            }

            Finish(work, query, work.Merged);
        }
    }

    /// <summary>Scales the queries into scratch and finds each one's keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Begin(ref Work work)
    {
        AttentionJob* job = work.Job;
        TVector scale = TLanes.Broadcast((float)(1 / Math.Sqrt(job->HeadDim)));
        FindKeys(ref work);
        for (int query = 0; query < work.Queries; query++)
        {
            float* to = work.Query(query);
            if (!work.IsHere(query, out int head))
            {
                new Span<float>(to, work.Width).Clear();
                continue;
            }
            float* from = job->Qkv + (work.Row(query) * job->QkvStride) + ((long)head * job->HeadDim);
            new Span<float>(from, job->HeadDim).CopyTo(new Span<float>(to, job->HeadDim));
            new Span<float>(to + job->HeadDim, work.Width - job->HeadDim).Clear();
            for (int i = 0; i < work.Width; i += TLanes.Width)
                TLanes.Store(to + i, TLanes.Multiply(TLanes.Load(to + i), scale));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void FindKeys(ref Work work)
    {
        AttentionJob* job = work.Job;
        (work.Start, work.End) = (int.MaxValue, 0);
        for (int row = 0; row < work.Tile.Count; row++)
        {
            int position = job->Positions[work.Tile.First + row];
            int start = Math.Max(job->Range.Start, job->Range.Window > 0 ? position - job->Range.Window + 1 : 0);
            int end = Math.Min(job->Range.End, position + 1);
            (work.Starts[row], work.Ends[row]) = (start, end);
            if (start < end)
                (work.Start, work.End) = (Math.Min(work.Start, start), Math.Max(work.End, end));
        }

        // No row sees a key: no segment runs.
        work.Start = Math.Min(work.Start, work.End);
    }

    /// <summary>The chunks of a segment: scores, weights, outputs += weights * values.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Attend(ref Work work, int segment)
    {
        for (int query = 0; query < work.Queries; query++)
            (work.Maxima[query], work.Totals[query]) = (float.NegativeInfinity, 0);
        new Span<float>(work.Outputs, work.Queries * work.Width).Clear();
        int segmentEnd = Math.Min(work.End, (segment + 1) * AttentionSizes.SegmentKeys);
        work.Begin(Math.Max(work.Start, segment * AttentionSizes.SegmentKeys), segmentEnd);
        while (work.First < segmentEnd)
        {
            for (int head = 0; head < work.Heads; head += work.HeadsPerBatch)
            {
                switch (work.Job->KvType)
                {
                    case DType.Float32:
                        AttendHeads<Float32Panel>(ref work, head);
                        break;
                    case DType.BFloat16:
                        AttendHeads<BFloat16Panel>(ref work, head);
                        break;
                    default:
                        AttendHeads<Int8Kv>(ref work, head);
                        break;
                }
            }

            work.NextChunk();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AttendHeads<TFormat>(ref Work work, int first)
        where TFormat : struct, IKvFormat
    {
        int end = Math.Min(work.Heads, first + work.HeadsPerBatch);
        for (int key = work.First; key < work.ChunkEnd; key = work.StretchEnd(key))
        {
            for (int head = first; head < end; head++)
                Score<TFormat>(ref work, head, head - first, key);
        }

        for (int head = first; head < end; head++)
            Weigh<TFormat>(ref work, head, head - first);
        for (int key = work.First; key < work.ChunkEnd; key = work.StretchEnd(key))
        {
            for (int head = first; head < end; head++)
                AddValues<TFormat>(ref work, head, head - first, key);
        }
    }
}

/// <summary>Sizes that the cut of attention and its kernels share.</summary>
internal static class AttentionSizes
{
    /// <summary>Keys between two rescalings of the online softmax; boundaries are absolute positions.</summary>
    public const int ChunkKeys = 128;

    /// <summary>Keys of which all heads are read before the next: with blocks of 16 four long streams of memory.</summary>
    public const int StretchKeys = 64;

    /// <summary>Keys whose state starts anew; boundaries are absolute positions.</summary>
    public const int SegmentKeys = 1024;

    /// <summary>Floats before the output in a state: maximum, total, and room to keep vectors aligned.</summary>
    public const int StateHead = 16;

    /// <summary>Queries of a KV head from which the multiply-adds and not the memory are the limit.</summary>
    public const int ManyQueries = 24;

    /// <summary>Head elements, padded to 16.</summary>
    public static int Padded(int headDim) => (headDim + PanelView.Width - 1) / PanelView.Width * PanelView.Width;

    /// <summary>Floats of a query's state.</summary>
    public static int StateFloats(int headDim) => StateHead + Padded(headDim);
}
