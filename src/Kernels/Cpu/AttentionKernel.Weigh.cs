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
        float* keyFactors = null, valueFactors = null;
        if (TFormat.IsScaled)
            CopyFactors(ref work, head, low, high, out keyFactors, out valueFactors);
        int offset = head * work.Count;
        float* factors = work.Factors + offset;
        for (int query = 0; query < work.Count; query++)
        {
            float* scores = work.Score(slot, query);
            (int first, int end) = OwnKeys(work, query, low, high);
            float before = work.Maxima[offset + query];
            if (TFormat.IsScaled)
                Multiply(scores, keyFactors, low, high);
            if (first > low)
                new Span<float>(scores + low, first - low).Fill(float.NegativeInfinity);
            if (end < high)
                new Span<float>(scores + end, high - end).Fill(float.NegativeInfinity);
            work.Maxima[offset + query] = first < end ? Maximum(scores, low, high, before) : before;
            factors[query] = first < end ? before - work.Maxima[offset + query] : 0;
        }

        for (int i = 0; i < work.Count; i += TLanes.Width)
            TLanes.Store(factors + i, LaneMath<TLanes, TVector>.Exp(TLanes.Load(factors + i)));
        for (int query = 0; query < work.Count; query++)
        {
            float* scores = work.Score(slot, query);
            (int first, int end) = OwnKeys(work, query, low, high);
            if (first < end)
            {
                float sum = Exponentiate<TFormat>(scores, low, high, work.Maxima[offset + query], valueFactors, work.Lanes);
                work.Totals[offset + query] = MathF.FusedMultiplyAdd(work.Totals[offset + query], factors[query], sum);
            }

            // The factor of a slot without a key may be anything. And a pair of values may begin one slot before the first group.
            if (TFormat.IsScaled || first >= end)
            {
                new Span<float>(scores + low, Math.Min(first, high) - low).Clear();
                new Span<float>(scores + end, high - end).Clear();
            }

            scores[low - 1] = 0;
            work.Ahead.Ask();
        }
    }

    /// <summary>The lanes of the chunk that hold keys of a query, within [low, high].</summary>
    private static (int First, int End) OwnKeys(in Work work, int query, int low, int high)
    {
        int row = query / work.Job->Group;
        int first = Math.Clamp(work.Starts[row] - work.Chunk, low, high);
        return (first, Math.Clamp(work.Ends[row] - work.Chunk, first, high));
    }

    /// <summary>Factors of the chunk's keys and values, one per lane; lanes without a key get 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void CopyFactors(ref Work work, int head, int low, int high, out float* keys, out float* values)
    {
        AttentionJob* job = work.Job;
        keys = work.KeyFactors;
        values = keys + Work.ScoreStride;
        new Span<float>(keys + low, high - low).Clear();
        new Span<float>(values + low, high - low).Clear();
        for (int key = work.First; key < work.ChunkEnd;)
        {
            (int block, int offset) = Math.DivRem(key, job->BlockSize);
            int count = Math.Min(job->BlockSize - offset, work.ChunkEnd - key);
            float* from = job->Factors(work.Blocks[block], work.FirstHead + head) + offset;
            new Span<float>(from, count).CopyTo(new Span<float>(keys + key - work.Chunk, count));
            new Span<float>(from + (job->Layout.FactorHeadBytes / sizeof(float)), count).CopyTo(new Span<float>(values + key - work.Chunk, count));
            key += count;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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
            TVector score = TLanes.Load(scores + i), next = TLanes.Load(scores + i + TLanes.Width);
            maximum = TLanes.SelectGreater(score, maximum, score, maximum);
            other = TLanes.SelectGreater(next, other, next, other);
        }

        if (i < high)
        {
            TVector score = TLanes.Load(scores + i);
            maximum = TLanes.SelectGreater(score, maximum, score, maximum);
        }

        return TLanes.Largest(TLanes.SelectGreater(other, maximum, other, maximum));
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
                TVector weight = LaneMath<TLanes, TVector>.Exp(TLanes.Subtract(TLanes.Load(scores + i), shift));
                sum = TLanes.Add(sum, weight);
                TLanes.Store(scores + i, TFormat.IsScaled ? TLanes.Multiply(weight, TLanes.Load(valueFactors + i)) : weight);
            }

            TLanes.Store(lanes + lane, sum);
        }

        return TLanes.Sum16(lanes);
    }
}
