namespace Cluster.Kernels.Cpu;

internal static unsafe partial class AttentionKernel<TLanes, TVector>
{
    /// <summary>Scratch and progress of one task: the rows of a tile times the query heads of its KV heads.</summary>
    private ref struct Work
    {
        // With a block size that is no multiple of 16, a group of 16 slots may reach over either end of the chunk.
        public const int ScoreStride = PanelView.Width + AttentionSizes.ChunkKeys + PanelView.Width;

        private const int MaxBatchQueries = 64;

        public readonly AttentionJob* Job;
        public readonly AttentionTile Tile;
        public readonly int* Blocks;

        /// <summary>First KV head of the task.</summary>
        public readonly int FirstHead;

        /// <summary>KV heads of the task.</summary>
        public readonly int Heads;

        /// <summary>KV heads whose scores are there at once: all of the task, or one.</summary>
        public readonly int HeadsPerBatch;

        /// <summary>Keys of which all heads of the batch are read before the next; a chunk where memory is not the limit, or blocks do not fit in.</summary>
        public readonly int StretchKeys;

        /// <summary>Queries of a KV head: rows times heads of the group, row by row.</summary>
        public readonly int Count;

        /// <summary>Queries in all, head by head.</summary>
        public readonly int Queries;

        /// <summary>Head elements, padded to 16.</summary>
        public readonly int Width;

        /// <summary>Floats of a state.</summary>
        public readonly int StateFloats;

        public readonly byte** Streams;
        public readonly KvPiece* Pieces;
        public readonly float* Scaled, Outputs, Merged, Scores, Maxima, Totals, Factors, KeyFactors, Lanes;

        /// <summary>Keys that each row of the tile sees, [Starts, Ends).</summary>
        public readonly int* Starts, Ends;

        /// <summary>Keys that any row of the tile sees, [Start, End).</summary>
        public int Start, End;

        /// <summary>The chunk, and its keys in this task, [First, ChunkEnd).</summary>
        public int Chunk, First, ChunkEnd;

        /// <summary>What to ask for next.</summary>
        public Lookahead Ahead;

        private int _end;

        public Work(AttentionJob* job, int task, byte* scratch)
        {
            Job = job;
            (int tile, int headGroup) = Math.DivRem(task, job->HeadGroups);
            Tile = job->Cut.Tiles[tile];
            Blocks = job->BlockTable + job->BlockStarts[Tile.Sequence];
            FirstHead = headGroup * job->Cut.HeadsPerTask;
            Heads = Math.Min(job->Cut.HeadsPerTask, job->KvHeads - FirstHead);
            Count = Tile.Count * job->Group;
            Queries = Heads * Count;
            HeadsPerBatch = Queries <= MaxBatchQueries ? Heads : 1;
            StretchKeys = HeadsPerBatch < Heads || job->BlockSize % PanelView.Width != 0 ? AttentionSizes.ChunkKeys : AttentionSizes.StretchKeys;
            Width = AttentionSizes.Padded(job->HeadDim);
            StateFloats = AttentionSizes.StateFloats(job->HeadDim);
            Scaled = (float*)scratch;
            Outputs = Scaled + (Queries * Width);
            Merged = Outputs + (Queries * Width);
            Scores = Merged + (Queries * StateFloats);
            KeyFactors = Scores + (HeadsPerBatch * Count * ScoreStride) + PanelView.Width;
            Maxima = KeyFactors + (2 * ScoreStride) - PanelView.Width;
            Totals = Maxima + Queries;
            Factors = Totals + Queries;
            Lanes = Factors + Queries + PanelView.Width;
            Starts = (int*)(Lanes + PanelView.Width);
            Ends = Starts + Tile.Count;
            Pieces = (KvPiece*)(((nint)(Ends + Tile.Count) + 63) & ~63);
            Streams = (byte**)(Pieces + AttentionSizes.ChunkKeys);
        }

        /// <summary>Bytes of scratch for tiles of up to so many rows.</summary>
        public static long Bytes(in AttentionJob job, int rowsPerTile)
        {
            long queries = (long)rowsPerTile * job.Group * job.Cut.HeadsPerTask;
            long floats = (queries * ((2 * AttentionSizes.Padded(job.HeadDim)) + AttentionSizes.StateFloats(job.HeadDim) + ScoreStride + 3))
                + (3 * ScoreStride) + (2L * rowsPerTile) + (5 * PanelView.Width);
            long streams = Math.Max(AttentionSizes.ChunkKeys, AttentionSizes.Padded(job.HeadDim));
            return (4 * floats) + 64 + (sizeof(KvPiece) * AttentionSizes.ChunkKeys) + (sizeof(byte*) * streams);
        }

        /// <summary>Row of the tile that a query belongs to.</summary>
        public readonly int TileRow(int query) => query % Count / Job->Group;

        /// <summary>Row of the step that a query belongs to.</summary>
        public readonly int Row(int query) => Tile.First + TileRow(query);

        /// <summary>Query head among the groups; that of the layout is <see cref="AttentionJob.GroupOffset"/> less, and may not be there.</summary>
        private readonly int GroupedHead(int query) => ((FirstHead + (query / Count)) * Job->Group) + (query % Count % Job->Group);

        /// <summary>Query head of the layout; false if it is on another rank.</summary>
        public readonly bool IsHere(int query, out int head)
        {
            head = GroupedHead(query) - Job->GroupOffset;
            return (uint)head < (uint)Job->QueryHeads;
        }

        /// <summary>The scaled query.</summary>
        public readonly float* Query(int query) => Scaled + (query * Width);

        /// <summary>Weighted values of the segment so far.</summary>
        public readonly float* Output(int query) => Outputs + (query * Width);

        /// <summary>Scores, later weights, of the chunk's keys; <paramref name="slot"/> counts the heads of the batch.</summary>
        public readonly float* Score(int slot, int query) => Scores + (((slot * Count) + query) * ScoreStride) + PanelView.Width;

        /// <summary>Where a query's state of a segment is kept until it is merged.</summary>
        public readonly float* State(int query, int segment) =>
            Job->Cut.States + (((((long)segment * Job->Rows) + Row(query)) * Job->GroupedHeads + GroupedHead(query)) * StateFloats);

        /// <summary>Whether a query sees a key of a segment.</summary>
        public readonly bool Sees(int query, int segment)
        {
            int row = TileRow(query);
            return Math.Max(Starts[row], segment * AttentionSizes.SegmentKeys) < Math.Min(Ends[row], (segment + 1) * AttentionSizes.SegmentKeys);
        }

        /// <summary>Lets lines up to a key be asked for.</summary>
        public void LookAhead(int end) => Ahead = new Lookahead(Job, Blocks, FirstHead, Heads, HeadsPerBatch, StretchKeys, end);

        /// <summary>End of the stretch that a key of the chunk begins or lies in.</summary>
        public readonly int StretchEnd(int key) => Math.Min(ChunkEnd, ((key / StretchKeys) + 1) * StretchKeys);

        /// <summary>Starts with the first chunk of keys [first, end).</summary>
        public void Begin(int first, int end)
        {
            _end = end;
            Open(first);
        }

        /// <summary>Goes on with the next chunk; at the end of the keys <see cref="First"/> is the end.</summary>
        public void NextChunk() => Open(ChunkEnd);

        private void Open(int first)
        {
            First = first;
            Chunk = first / AttentionSizes.ChunkKeys * AttentionSizes.ChunkKeys;
            ChunkEnd = Math.Min(_end, Chunk + AttentionSizes.ChunkKeys);
            Ahead.Open(first);
        }
    }
}
