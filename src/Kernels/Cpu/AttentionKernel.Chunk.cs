namespace Cluster.Kernels.Cpu;

internal static unsafe partial class AttentionKernel<TLanes, TVector>
{
    /// <summary>score[query, key - chunk] for keys [first, end); other lanes hold anything, the weights leave them out.</summary>
    private static void Score<TFormat>(ref Work work, int chunk, int first, int end)
        where TFormat : struct, IPanelFormat
    {
        bool aligned = work.Job->BlockSize % PanelView.Width == 0;
        int key = first;
        while (key < end)
        {
            int groupStart = key - (key % work.Job->BlockSize % PanelView.Width);
            int streams = 0;
            do
            {
                (int block, int offset) = Math.DivRem(key, work.Job->BlockSize);
                (int group, int lane) = Math.DivRem(offset, PanelView.Width);
                byte* keys = work.Job->KeyGroup(work.Blocks[block], work.Head, group);
                for (int i = 0; i < PanelView.Width; i += TLanes.Width)
                    work.Streams[streams++] = keys + (4 * i);
                key += Math.Min(PanelView.Width - lane, work.Job->BlockSize - offset);
            }
            while (aligned && key < end);
            ScoreGroups<TFormat>(ref work, groupStart - chunk, streams);
        }
    }

    private static void ScoreGroups<TFormat>(ref Work work, int at, int streams)
        where TFormat : struct, IPanelFormat
    {
        for (int query = 0; query < work.Count; query++)
            new Span<float>(work.Score(query) + at, streams * TLanes.Width).Clear();
        var tile = new Tile
        {
            Rows = work.Count,
            X = work.Queries,
            XStride = work.Width,
            Pairs = work.Job->HeadDim / 2,
            Odd = work.Job->HeadDim % 2 != 0,
            Sums = work.Score(0) + at,
            SumStride = ScoreStride,
        };
        PanelTile<TLanes, TVector, TFormat>.Accumulate(tile, work.Streams, streams);
    }

    /// <summary>Turns a query's scores into weights e^(score - maximum) and shrinks what was summed under a smaller maximum.</summary>
    private static void Weigh(ref Work work, int query, int chunk)
    {
        float* scores = work.Score(query);
        int first = Math.Clamp(work.Starts[query] - chunk, 0, ChunkKeys);
        int end = Math.Clamp(work.Ends[query] - chunk, 0, ChunkKeys);
        if (first >= end)
        {
            new Span<float>(scores, ChunkKeys).Clear();
            return;
        }

        new Span<float>(scores, first).Fill(float.NegativeInfinity);
        new Span<float>(scores + end, ChunkKeys - end).Fill(float.NegativeInfinity);
        float before = work.Maxima[query];
        float maximum = Maximum(scores, before);
        float shrink = LaneMath<LanesScalar, float>.Exp(before - maximum);
        work.Maxima[query] = maximum;
        work.Totals[query] = MathF.FusedMultiplyAdd(work.Totals[query], shrink, Exponentiate(scores, maximum));

        // Adding +0 turns -0 into +0: whether keys of weight 0 were added before (other rows of the tile see them) leaves no trace.
        float* output = work.Output(query);
        TVector factor = TLanes.Broadcast(shrink);
        for (int i = 0; i < work.Width; i += TLanes.Width)
            TLanes.Store(output + i, TLanes.Fma(TLanes.Load(output + i), factor, default));
    }

    private static float Maximum(float* scores, float before)
    {
        float* lanes = stackalloc float[PanelView.Width];
        TVector maximum = TLanes.Broadcast(before);
        for (int i = 0; i < ChunkKeys; i += TLanes.Width)
        {
            TVector score = TLanes.Load(scores + i);
            maximum = TLanes.SelectGreater(score, maximum, score, maximum);
        }

        TLanes.Store(lanes, maximum);
        float result = lanes[0];
        for (int i = 1; i < TLanes.Width; i++)
            result = lanes[i] > result ? lanes[i] : result;
        return result;
    }

    /// <summary>Replaces scores by weights and returns their sum: 16 lanes, then a binary tree.</summary>
    private static float Exponentiate(float* scores, float maximum)
    {
        float* lanes = stackalloc float[PanelView.Width];
        TVector shift = TLanes.Broadcast(maximum);
        for (int lane = 0; lane < PanelView.Width; lane += TLanes.Width)
        {
            TVector sum = default;
            for (int i = lane; i < ChunkKeys; i += PanelView.Width)
            {
                TVector weight = LaneMath<TLanes, TVector>.Exp(TLanes.Subtract(TLanes.Load(scores + i), shift));
                TLanes.Store(scores + i, weight);
                sum = TLanes.Add(sum, weight);
            }

            TLanes.Store(lanes + lane, sum);
        }

        return RowKernels<TLanes, TVector>.LaneTree(lanes);
    }

    /// <summary>outputs += weights * values for keys [first, end), block by block.</summary>
    private static void AddValues<TFormat>(ref Work work, int chunk, int first, int end)
        where TFormat : struct, IPanelFormat
    {
        // A bf16 pair begins at an even slot; the key before the first has weight 0.
        int key = TFormat.PairBytes == BFloat16Panel.PairBytes ? first & ~1 : first;
        while (key < end)
        {
            (int block, int offset) = Math.DivRem(key, work.Job->BlockSize);
            int count = Math.Min(work.Job->BlockSize - offset, end - key);
            byte* values = work.Job->ValueHead(work.Blocks[block], work.Head) + (offset * (TFormat.PairBytes / 2));
            int streams = 0;
            for (int group = 0; group < work.Job->ValueGroups; group++, values += work.Job->ValueGroupBytes)
            {
                for (int i = 0; i < PanelView.Width; i += TLanes.Width)
                    work.Streams[streams++] = values + (4 * i);
            }

            var tile = new Tile
            {
                Rows = work.Count,
                X = work.Score(0) + (key - chunk),
                XStride = ScoreStride,
                Pairs = count / 2,
                Odd = count % 2 != 0,
                Sums = work.Outputs,
                SumStride = work.Width,
            };
            PanelTile<TLanes, TVector, TFormat>.Accumulate(tile, work.Streams, streams);
            key += count;
        }
    }
}
