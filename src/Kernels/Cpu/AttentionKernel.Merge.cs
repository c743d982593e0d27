using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

internal static unsafe partial class AttentionKernel<TLanes, TVector>
{
    /// <summary>
    /// Adds a segment's result to a state [maximum, total, output]: both shrink to the larger maximum. A state whose total is 0
    /// holds nothing yet.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Merge(float* state, float maximum, float total, float* output, int width)
    {
        float* merged = state + AttentionSizes.StateHead;
        if (state[1] == 0)
        {
            (state[0], state[1]) = (maximum, total);
            new Span<float>(output, width).CopyTo(new Span<float>(merged, width));
            return;
        }

        float larger = maximum > state[0] ? maximum : state[0];
        float keep = LaneMath<LanesScalar, float>.Exp(state[0] - larger), add = LaneMath<LanesScalar, float>.Exp(maximum - larger);
        (state[0], state[1]) = (larger, MathF.FusedMultiplyAdd(total, add, state[1] * keep));
        TVector keeps = TLanes.Broadcast(keep), adds = TLanes.Broadcast(add);
        for (int i = 0; i < width; i += TLanes.Width)
            TLanes.Store(merged + i, TLanes.Fma(TLanes.Load(output + i), adds, TLanes.Multiply(TLanes.Load(merged + i), keeps)));
    }

    /// <summary>output = sum / total, log-sum-exp = maximum + ln total.</summary>
    private static void Finish(in Work work, int query, float* state)
    {
        AttentionJob* job = work.Job;
        if (!work.IsHere(query, out int head))
            return;
        int row = work.Row(query);
        float* to = job->Output + (row * job->OutputStride) + ((long)head * job->HeadDim);
        bool empty = work.Starts[work.TileRow(query)] >= work.Ends[work.TileRow(query)];
        float total = empty ? 1 : state[1];
        float* from = state + AttentionSizes.StateHead;
        int i = 0;
        for (; i + TLanes.Width <= job->HeadDim; i += TLanes.Width)
            TLanes.Store(to + i, TLanes.Divide(TLanes.Add(TLanes.Load(from + i), default), TLanes.Broadcast(total)));
        for (; i < job->HeadDim; i++)
            to[i] = (from[i] + 0f) / total;
        job->LogSumExp[(row * job->LogSumExpStride) + head] = empty ? float.NegativeInfinity : state[0] + (float)Math.Log(total);
    }
}
