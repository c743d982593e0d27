using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class AttentionKernel<TLanes, TVector>
{
    /// <summary>score[query, key - chunk] for a stretch's keys; other lanes hold anything, the weights leave them out.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Score<TFormat>(ref Work work, int head, int slot, int key)
        where TFormat : struct, IKvFormat
    {
        AttentionJob* job = work.Job;
        bool aligned = job->BlockSize % PanelView.Width == 0;
        int end = work.StretchEnd(key);
        (int block, int offset) = Math.DivRem(key, job->BlockSize);
        while (key < end)
        {
            int groupStart = key - (offset % PanelView.Width);
            int streams = 0;
            do
            {
                byte* keys = job->KeyHead(work.Blocks[block], work.FirstHead + head) + (offset / PanelView.Width * job->Layout.KeyGroupBytes);
                for (int i = 0; i < PanelView.Width; i += TLanes.Width)
                    work.Streams[streams++] = keys + (TFormat.LaneBytes * i);
                int step = Math.Min(PanelView.Width - (offset % PanelView.Width), job->BlockSize - offset);
                key += step;
                offset += step;
                if (offset == job->BlockSize)
                {
                    block++;
                    offset = 0;
                }
            }
            while (aligned && key < end);
            ScoreGroups<TFormat>(ref work, head, work.Score(slot, 0) + groupStart - work.Chunk, streams);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ScoreGroups<TFormat>(ref Work work, int head, float* scores, int streams)
        where TFormat : struct, IKvFormat
    {
        KvPiece piece;
        piece.Offset = 0;
        piece.Pairs = work.Job->HeadDim / 2;
        var tile = new KvTile
        {
            Step = TFormat.PairBytes,
            X = work.Query(head * work.Count),
            XStride = work.Width,
            Pieces = &piece,
            PieceCount = 1,
            Odd = work.Job->HeadDim % 2 != 0,
            SumStride = Work.ScoreStride,
        };
        int vectors = KvTile<TLanes, TVector, TFormat>.VectorsFor(work.Count);
        for (int stream = 0; stream < streams; stream += vectors)
        {
            tile.Rows = work.Count;
            tile.Sums = scores + (stream * TLanes.Width);
            tile.SetStreams(work.Streams + stream, Math.Min(vectors, streams - stream));
            bool prefetch = work.Ahead.Take(ref tile, piece.Pairs * TFormat.PairBytes / 64, piece.Pairs * tile.Vectors * LineShare<TFormat>() / 64);
            KvTile<TLanes, TVector, TFormat>.Accumulate(tile, prefetch);
        }
    }

    /// <summary>outputs = outputs * factors + weights * values for a stretch's keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddValues<TFormat>(ref Work work, int head, int slot, int key)
        where TFormat : struct, IKvFormat
    {
        AttentionJob* job = work.Job;
        bool even = job->BlockSize % 2 == 0;

        // Pairs begin at an even slot of a block; the key before the first has weight 0. Blocks of odd size go one by one.
        int end = work.StretchEnd(key);
        (int block, int offset) = Math.DivRem(key, job->BlockSize);
        key -= offset % 2;
        offset -= offset % 2;
        while (key < end)
        {
            int from = key, pieces = 0;
            byte* values = job->ValueHead(work.Blocks[block], work.FirstHead + head) + (offset / 2 * job->Layout.ValuePairBytes);
            do
            {
                int count = Math.Min(job->BlockSize - offset, end - key);
                byte* at = job->ValueHead(work.Blocks[block], work.FirstHead + head) + (offset / 2 * job->Layout.ValuePairBytes);
                work.Pieces[pieces].Offset = at - values;
                work.Pieces[pieces++].Pairs = count / 2;
                key += count;
                block++;
                offset = 0;
            }
            while (even && key < end);
            AddPieces<TFormat>(ref work, head, values, work.Score(slot, 0) + from - work.Chunk, pieces, (key - from) % 2 != 0);
            if (key < work.ChunkEnd)
                new Span<float>(work.Factors + (head * work.Count), work.Count).Fill(1);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddPieces<TFormat>(ref Work work, int head, byte* values, float* weights, int pieces, bool odd)
        where TFormat : struct, IKvFormat
    {
        var tile = new KvTile
        {
            Step = work.Job->Layout.ValuePairBytes,
            X = weights,
            XStride = Work.ScoreStride,
            Pieces = work.Pieces,
            PieceCount = pieces,
            Odd = odd,
            SumStride = work.Width,
            Factors = work.Factors + (head * work.Count),
        };
        int streams = 0, pairs = 0;
        for (int piece = 0; piece < pieces; piece++)
            pairs += work.Pieces[piece].Pairs;
        for (int lane = 0; lane < work.Width; lane += TLanes.Width)
            work.Streams[streams++] = values + (lane / PanelView.Width * TFormat.PairBytes) + (lane % PanelView.Width * TFormat.LaneBytes);
        int vectors = KvTile<TLanes, TVector, TFormat>.VectorsFor(work.Count);
        for (int stream = 0; stream < streams; stream += vectors)
        {
            tile.Rows = work.Count;
            tile.Sums = work.Output(head * work.Count) + (stream * TLanes.Width);
            tile.SetStreams(work.Streams + stream, Math.Min(vectors, streams - stream));
            bool prefetch = work.Ahead.Take(ref tile, pairs * TFormat.PairBytes / 64, pairs * tile.Vectors * LineShare<TFormat>() / 64);
            KvTile<TLanes, TVector, TFormat>.Accumulate(tile, prefetch);
        }
    }

    /// <summary>Bytes of a pair that one vector reads.</summary>
    private static int LineShare<TFormat>()
        where TFormat : struct, IKvFormat => TFormat.PairBytes * TLanes.Width / PanelView.Width;
}
