using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class AttentionKernel<TLanes, TVector>
{
    /// <summary>score[query, key - chunk] for keys [first, end); other lanes hold anything, the weights leave them out.</summary>
    private static void Score<TFormat>(ref Work work, int chunk, int first, int end)
        where TFormat : struct, IPanelFormat
    {
        AttentionJob* job = work.Job;
        bool aligned = job->BlockSize % PanelView.Width == 0;
        (int block, int offset) = Math.DivRem(first, job->BlockSize);
        int key = first;
        while (key < end)
        {
            int groupStart = key - (offset % PanelView.Width);
            int streams = 0;
            do
            {
                byte* keys = job->KeyGroup(work.Blocks[block], work.Head, offset / PanelView.Width);
                for (int i = 0; i < PanelView.Width; i += TLanes.Width)
                    work.Streams[streams++] = keys + (4 * i);
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
            ScoreGroups<TFormat>(ref work, groupStart - chunk, streams);
        }
    }

    private static void ScoreGroups<TFormat>(ref Work work, int at, int streams)
        where TFormat : struct, IPanelFormat
    {
        for (int query = 0; query < work.Count; query++)
        {
            float* scores = work.Score(query) + at;
            for (int i = 0; i < streams; i++)
                TLanes.Store(scores + (i * TLanes.Width), default);
        }

        var piece = new TilePiece(0, work.Job->HeadDim / 2);
        var tile = new Tile
        {
            Rows = work.Count,
            X = work.Queries,
            XStride = work.Width,
            Pieces = &piece,
            PieceCount = 1,
            Odd = work.Job->HeadDim % 2 != 0,
            Sums = work.Score(0) + at,
            SumStride = ScoreStride,
        };
        PanelTile<TLanes, TVector, TFormat>.Accumulate(tile, work.Streams, streams);
    }

    /// <summary>
    /// Turns a query's scores of keys [first, end) into weights e^(score - maximum), 0 for keys it does not see, and shrinks
    /// what was summed under a smaller maximum. Lanes that hold no key of the tile would only add zeros: they are left out.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Weigh(ref Work work, int query, int chunk, int first, int end)
    {
        int low = (first - chunk) & -PanelView.Width;
        int high = (end - chunk + PanelView.Width - 1) & -PanelView.Width;
        float* scores = work.Score(query);
        int ownFirst = Math.Max(work.Starts[query] - chunk, low);
        int ownEnd = Math.Min(work.Ends[query] - chunk, high);
        if (ownFirst >= ownEnd)
        {
            new Span<float>(scores + low, high - low).Clear();
            return;
        }

        for (int i = low; i < ownFirst; i++)
            scores[i] = float.NegativeInfinity;
        for (int i = ownEnd; i < high; i++)
            scores[i] = float.NegativeInfinity;
        float before = work.Maxima[query];
        float maximum = Maximum(scores, low, high, before);
        float shrink = LaneMath<LanesScalar, float>.Exp(before - maximum);
        work.Maxima[query] = maximum;
        work.Totals[query] = MathF.FusedMultiplyAdd(work.Totals[query], shrink, Exponentiate(scores, low, high, maximum));

        // Adding +0 turns -0 into +0: whether keys of weight 0 were added before (other rows of the tile see them) leaves no trace.
        float* output = work.Output(query);
        TVector factor = TLanes.Broadcast(shrink);
        for (int i = 0; i < work.Width; i += TLanes.Width)
            TLanes.Store(output + i, TLanes.Fma(TLanes.Load(output + i), factor, default));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Maximum(float* scores, int low, int high, float before)
    {
        TVector maximum = TLanes.Broadcast(before);
        for (int i = low; i < high; i += TLanes.Width)
        {
            TVector score = TLanes.Load(scores + i);
            maximum = TLanes.SelectGreater(score, maximum, score, maximum);
        }

        return TLanes.Largest(maximum);
    }

    /// <summary>Replaces scores by weights and returns their sum: 16 lanes, then a binary tree.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Exponentiate(float* scores, int low, int high, float maximum)
    {
        float* lanes = stackalloc float[PanelView.Width];
        TVector shift = TLanes.Broadcast(maximum);
        for (int lane = 0; lane < PanelView.Width; lane += TLanes.Width)
        {
            TVector sum = default;
            for (int i = low + lane; i < high; i += PanelView.Width)
            {
                TVector weight = LaneMath<TLanes, TVector>.Exp(TLanes.Subtract(TLanes.Load(scores + i), shift));
                TLanes.Store(scores + i, weight);
                sum = TLanes.Add(sum, weight);
            }

            TLanes.Store(lanes + lane, sum);
        }

        return TLanes.Sum16(lanes);
    }

    /// <summary>outputs += weights * values for keys [first, end): one tile over the pieces of blocks.</summary>
    private static void AddValues<TFormat>(ref Work work, int chunk, int first, int end)
        where TFormat : struct, IPanelFormat
    {
        AttentionJob* job = work.Job;
        bool even = job->BlockSize % 2 == 0;

        // Pairs begin at an even slot; the key before the first has weight 0. Blocks of odd size go one by one.
        int start = even ? first & ~1 : first;
        (int block, int offset) = Math.DivRem(start, job->BlockSize);
        for (int key = start; key < end;)
        {
            int from = key, pieces = 0;
            byte* values = job->ValueHead(work.Blocks[block], work.Head) + (offset * (TFormat.PairBytes / 2));
            do
            {
                int count = Math.Min(job->BlockSize - offset, end - key);
                byte* at = job->ValueHead(work.Blocks[block], work.Head) + (offset * (TFormat.PairBytes / 2));
                work.Pieces[pieces++] = new TilePiece(at - values, count / 2);
                key += count;
                block++;
                offset = 0;
            }
            while (even && key < end);
            AddPieces<TFormat>(ref work, values, from - chunk, pieces, (key - from) % 2 != 0);
        }
    }

    private static void AddPieces<TFormat>(ref Work work, byte* values, int at, int pieces, bool odd)
        where TFormat : struct, IPanelFormat
    {
        int streams = 0;
        for (int group = 0; group < work.Job->ValueGroups; group++, values += work.Job->ValueGroupBytes)
        {
            for (int i = 0; i < PanelView.Width; i += TLanes.Width)
                work.Streams[streams++] = values + (4 * i);
        }

        var tile = new Tile
        {
            Rows = work.Count,
            X = work.Score(0) + at,
            XStride = ScoreStride,
            Pieces = work.Pieces,
            PieceCount = pieces,
            Odd = odd,
            Sums = work.Outputs,
            SumStride = work.Width,
        };
        PanelTile<TLanes, TVector, TFormat>.Accumulate(tile, work.Streams, streams);
    }
}
