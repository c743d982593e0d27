using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Causal attention over paged keys, returning output and log-sum-exp. Online softmax over chunks of 128 keys whose
/// boundaries are absolute positions, so a query's arithmetic depends on its own key range only: the same bits in decode,
/// whole and chunked prefill. A task is a tile of rows of one sequence times one KV head: its query heads and rows share
/// every load of K and V.
/// </summary>
internal static unsafe partial class AttentionKernel<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    private const int ChunkKeys = 128;

    // With a block size that is no multiple of 16, a group of 16 slots may reach over either end of the chunk.
    private const int ScoreStride = PanelView.Width + ChunkKeys + PanelView.Width;

    public static void Run(CpuThreadPool pool, AttentionJob job, int tiles, long work) =>
        pool.Run(tiles * job.KvHeads, work, &job, &Task);

    /// <summary>Bytes each thread needs.</summary>
    public static long ScratchBytes(int queries, int headDim) =>
        4L * queries * ((2 * Padded(headDim)) + ScoreStride + 4) + (sizeof(void*) * MaxStreams(headDim)) + (sizeof(TilePiece) * ChunkKeys);

    private static int Padded(int headDim) => (headDim + PanelView.Width - 1) / PanelView.Width * PanelView.Width;

    private static int MaxStreams(int headDim) => Math.Max(ChunkKeys, Padded(headDim));

    private static void Task(void* argument, int chunk, int thread)
    {
        var job = (AttentionJob*)argument;
        (int tile, int head) = Math.DivRem(chunk, job->KvHeads);
        var work = new Work(job, job->Tiles[tile], head, job->Scratch + (thread * job->ScratchStride));
        Begin(ref work);
        for (int first = work.Start / ChunkKeys * ChunkKeys; first < work.End; first += ChunkKeys)
        {
            if (job->KvType == DType.Float32)
                Attend<Float32Panel>(ref work, first);
            else
                Attend<BFloat16Panel>(ref work, first);
        }

        Finish(ref work);
    }

    /// <summary>Scales the queries into scratch and finds each one's keys.</summary>
    private static void Begin(ref Work work)
    {
        AttentionJob* job = work.Job;
        TVector scale = TLanes.Broadcast((float)(1 / Math.Sqrt(job->HeadDim)));
        new Span<float>(work.Queries, work.Count * work.Width).Clear();
        new Span<float>(work.Outputs, work.Count * work.Width).Clear();
        (work.Start, work.End) = (int.MaxValue, 0);
        for (int query = 0; query < work.Count; query++)
        {
            int row = work.Tile.First + (query / job->Group);
            float* from = job->Qkv + (row * job->QkvStride) + (((long)work.Head * job->Group) + (query % job->Group)) * job->HeadDim;
            Buffer.MemoryCopy(from, work.Query(query), 4L * job->HeadDim, 4L * job->HeadDim);
            for (int i = 0; i < work.Width; i += TLanes.Width)
                TLanes.Store(work.Query(query) + i, TLanes.Multiply(TLanes.Load(work.Query(query) + i), scale));

            int position = job->Positions[row];
            int start = Math.Max(job->Range.Start, job->Range.Window > 0 ? position - job->Range.Window + 1 : 0);
            int end = Math.Min(job->Range.End, position + 1);
            (work.Starts[query], work.Ends[query]) = (start, end);
            (work.Maxima[query], work.Totals[query]) = (float.NegativeInfinity, 0);
            if (start < end)
                (work.Start, work.End) = (Math.Min(work.Start, start), Math.Max(work.End, end));
        }
    }

    /// <summary>One chunk of keys: scores, weights, outputs += weights * values.</summary>
    private static void Attend<TFormat>(ref Work work, int chunk)
        where TFormat : struct, IPanelFormat
    {
        int first = Math.Max(work.Start, chunk);
        int end = Math.Min(work.End, chunk + ChunkKeys);
        Score<TFormat>(ref work, chunk, first, end);
        for (int query = 0; query < work.Count; query++)
            Weigh(ref work, query, chunk, first, end);

        AddValues<TFormat>(ref work, chunk, first, end);
    }

    private static void Finish(ref Work work)
    {
        AttentionJob* job = work.Job;
        for (int query = 0; query < work.Count; query++)
        {
            int row = work.Tile.First + (query / job->Group);
            int head = (work.Head * job->Group) + (query % job->Group);
            float* to = job->Output + (row * job->OutputStride) + ((long)head * job->HeadDim);
            bool empty = work.Starts[query] >= work.Ends[query];
            float total = empty ? 1 : work.Totals[query];
            float* from = work.Output(query);
            int i = 0;
            for (; i + TLanes.Width <= job->HeadDim; i += TLanes.Width)
                TLanes.Store(to + i, TLanes.Divide(TLanes.Add(TLanes.Load(from + i), default), TLanes.Broadcast(total)));
            for (; i < job->HeadDim; i++)
                to[i] = (from[i] + 0f) / total;
            job->LogSumExp[(row * job->LogSumExpStride) + head] =
                empty ? float.NegativeInfinity : work.Maxima[query] + (float)Math.Log(total);
        }
    }

    /// <summary>Scratch and progress of one task.</summary>
    private ref struct Work
    {
        public readonly AttentionJob* Job;
        public readonly AttentionTile Tile;
        public readonly int Head;
        public readonly int* Blocks;

        /// <summary>Queries: rows times heads of the group, row by row.</summary>
        public readonly int Count;

        /// <summary>Head elements, padded to 16.</summary>
        public readonly int Width;
        public readonly byte** Streams;
        public readonly TilePiece* Pieces;
        public readonly float* Queries;
        public readonly float* Outputs;
        public readonly float* Scores;
        public readonly float* Maxima;
        public readonly float* Totals;
        public readonly int* Starts;
        public readonly int* Ends;

        /// <summary>Keys that any query of the tile sees, [Start, End).</summary>
        public int Start, End;

        public Work(AttentionJob* job, AttentionTile tile, int head, byte* scratch)
        {
            Job = job;
            (Tile, Head) = (tile, head);
            Blocks = job->BlockTable + job->BlockStarts[tile.Sequence];
            Count = tile.Count * job->Group;
            Width = Padded(job->HeadDim);
            Streams = (byte**)scratch;
            Pieces = (TilePiece*)(scratch + (sizeof(void*) * MaxStreams(job->HeadDim)));
            Queries = (float*)(Pieces + ChunkKeys);
            Outputs = Queries + (Count * Width);
            Scores = Outputs + (Count * Width);
            Maxima = Scores + (Count * ScoreStride);
            Totals = Maxima + Count;
            Starts = (int*)(Totals + Count);
            Ends = Starts + Count;
        }

        public readonly float* Query(int query) => Queries + (query * Width);

        public readonly float* Output(int query) => Outputs + (query * Width);

        /// <summary>Scores, later weights, of the chunk's keys.</summary>
        public readonly float* Score(int query) => Scores + (query * ScoreStride) + PanelView.Width;
    }
}
