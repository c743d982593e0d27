using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class AttentionKernel<TLanes, TVector>
{
    /// <summary>
    /// Turns the scores of a head's queries into weights e^(score - maximum), 0 for keys a query does not see, and finds by how
    /// much sums under a smaller maximum shrink. Lanes that hold no key of the tile would only add zeros: they are left out.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Weigh<TFormat>(ref Work work, int head, int slot)
        where TFormat : struct, IKvFormat
    {
        int low = (work.First - work.Chunk) & -PanelView.Width;
        int high = (work.ChunkEnd - work.Chunk + PanelView.Width - 1) & -PanelView.Width;
        if (TFormat.IsScaled)
            CopyFactors(ref work, head, low, high);
        float* keyFactors = work.KeyFactors, valueFactors = keyFactors + Work.ScoreStride;
        int group = work.Job->Group;
        float* maxima = work.Maxima + (head * work.Count), factors = work.Factors + (head * work.Count), scores = work.Score(slot, 0);
        for (int row = 0; row < work.Tile.Count; row++)
        {
            (int first, int end) = OwnKeys(work, row, low, high);
            for (int i = 0; i < group; i++, scores += Work.ScoreStride, maxima++, factors++)
                *factors = FindMaximum<TFormat>(scores, low, high, first, end, keyFactors, maxima);
        }

        factors = work.Factors + (head * work.Count);
        for (int i = 0; i < work.Count; i += TLanes.Width)
            TLanes.Store(factors + i, LaneMath<TLanes, TVector>.ExpNotAboveZero(TLanes.Load(factors + i)));
        maxima = work.Maxima + (head * work.Count);
        float* totals = work.Totals + (head * work.Count);
        scores = work.Score(slot, 0);
        for (int row = 0; row < work.Tile.Count; row++)
        {
            (int first, int end) = OwnKeys(work, row, low, high);
            for (int i = 0; i < group; i++, scores += Work.ScoreStride, maxima++, factors++, totals++)
            {
                if (first < end)
                    *totals = MathF.FusedMultiplyAdd(*totals, *factors, Exponentiate<TFormat>(scores, low, high, *maxima, valueFactors, work.Lanes));

                // The factor of a slot without a key may be anything.
                if (TFormat.IsScaled || first >= end)
                    ClearOthers(scores, low, high, first, end);

                // A pair of values may begin one slot before the first group.
                scores[low - 1] = 0;
                work.Ahead.Ask();
            }
        }
    }

    /// <summary>The lanes of the chunk that hold keys which a row of the tile sees, within [low, high].</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (int First, int End) OwnKeys(in Work work, int row, int low, int high)
    {
        int first = Math.Min(Math.Max(work.Starts[row] - work.Chunk, low), high);
        return (first, Math.Min(Math.Max(work.Ends[row] - work.Chunk, first), high));
    }

    /// <summary>Factors of the chunk's keys and values, one per lane; lanes without a key get anything.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void CopyFactors(ref Work work, int head, int low, int high)
    {
        AttentionJob* job = work.Job;
        float* keys = work.KeyFactors, values = keys + Work.ScoreStride;
        long toValues = job->Layout.FactorHeadBytes / sizeof(float);
        if (job->BlockSize % PanelView.Width == 0)
        {
            (int block, int offset) = Math.DivRem(work.Chunk + low, job->BlockSize);
            for (int lane = low; lane < high; lane += PanelView.Width)
            {
                float* from = job->Factors(work.Blocks[block], work.FirstHead + head) + offset;
                for (int i = 0; i < PanelView.Width; i += TLanes.Width)
                {
                    TLanes.Store(keys + lane + i, TLanes.Load(from + i));
                    TLanes.Store(values + lane + i, TLanes.Load(from + toValues + i));
                }

                offset += PanelView.Width;
                if (offset == job->BlockSize)
                    (block, offset) = (block + 1, 0);
            }

            return;
        }

        for (int key = work.First; key < work.ChunkEnd;)
        {
            (int block, int offset) = Math.DivRem(key, job->BlockSize);
            int count = Math.Min(job->BlockSize - offset, work.ChunkEnd - key);
            float* from = job->Factors(work.Blocks[block], work.FirstHead + head) + offset;
            new Span<float>(from, count).CopyTo(new Span<float>(keys + key - work.Chunk, count));
            new Span<float>(from + toValues, count).CopyTo(new Span<float>(values + key - work.Chunk, count));
            key += count;
        }
    }

    /// <summary>Raises a query's maximum to its largest score; returns how much it rose, negated.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float FindMaximum<TFormat>(float* scores, int low, int high, int first, int end, float* keyFactors, float* maximum)
        where TFormat : struct, IKvFormat
    {
        float before = *maximum;
        if (first > low || end < high)
            HideOthers<TFormat>(scores, low, high, first, end, keyFactors);
        else if (TFormat.IsScaled)
            Multiply(scores, keyFactors, low, high);
        if (first >= end)
            return 0;
        *maximum = Maximum(scores, low, high, before);
        return before - *maximum;
    }

    /// <summary>Scores of keys that a query does not see become -inf.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void HideOthers<TFormat>(float* scores, int low, int high, int first, int end, float* keyFactors)
        where TFormat : struct, IKvFormat
    {
        if (TFormat.IsScaled)
            Multiply(scores, keyFactors, low, high);
        new Span<float>(scores + low, first - low).Fill(float.NegativeInfinity);
        new Span<float>(scores + end, high - end).Fill(float.NegativeInfinity);
    }

    /// <summary>Weights of keys that a query does not see become 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void ClearOthers(float* scores, int low, int high, int first, int end)
    {
        if (first > low)
            new Span<float>(scores + low, first - low).Clear();
        if (end < high)
            new Span<float>(scores + end, high - end).Clear();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Multiply(float* scores, float* factors, int low, int high)
    {
        for (int i = low; i < high; i += TLanes.Width)
            TLanes.Store(scores + i, TLanes.Multiply(TLanes.Load(scores + i), TLanes.Load(factors + i)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Maximum(float* scores, int low, int high, float before)
    {
        TVector maximum = TLanes.Broadcast(before), other = maximum;
        int i = low;
        for (; i + (2 * TLanes.Width) <= high; i += 2 * TLanes.Width)
        {
            maximum = TLanes.Larger(TLanes.Load(scores + i), maximum);
            other = TLanes.Larger(TLanes.Load(scores + i + TLanes.Width), other);
        }

        if (i < high)
            maximum = TLanes.Larger(TLanes.Load(scores + i), maximum);
        return TLanes.Largest(TLanes.Larger(other, maximum));
    }

    /// <summary>Replaces scores by weights (times the values' factors) and returns the weights' sum: 16 lanes, then a binary tree.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Exponentiate<TFormat>(float* scores, int low, int high, float maximum, float* valueFactors, float* lanes)
        where TFormat : struct, IKvFormat
    {
        TVector shift = TLanes.Broadcast(maximum);
        for (int lane = 0; lane < PanelView.Width; lane += TLanes.Width)
        {
            TVector sum = default;
            for (int i = low + lane; i < high; i += PanelView.Width)
            {
                TVector weight = LaneMath<TLanes, TVector>.ExpNotAboveZero(TLanes.Subtract(TLanes.Load(scores + i), shift));
                sum = TLanes.Add(sum, weight);
                TLanes.Store(scores + i, TFormat.IsScaled ? TLanes.Multiply(weight, TLanes.Load(valueFactors + i)) : weight);
            }

            TLanes.Store(lanes + lane, sum);
        }

        return TLanes.Sum16(lanes);
    }
}
