using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>The end of every linear: merges the segments of K, adds the bias, writes y.</summary>
internal static unsafe class LinearFinish<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Write(in LinearJob job, float* from, long segmentStride, int output, float* to)
    {
        TVector result = job.Segments == 1 ? TLanes.Load(from) : Tree(from, segmentStride);
        if (job.Bias is not null)
            result = TLanes.Add(result, TLanes.Load(job.Bias + output));
        if (job.Add)
            result = TLanes.Add(TLanes.Load(to), result);
        TLanes.Store(to, result);
    }

    /// <summary>The balanced binary tree that an all-reduce over ranks continues.</summary>
    private static TVector Tree(float* from, long stride)
    {
        TVector left = TLanes.Add(TLanes.Add(TLanes.Load(from), TLanes.Load(from + stride)), TLanes.Add(TLanes.Load(from + (2 * stride)), TLanes.Load(from + (3 * stride))));
        from += 4 * stride;
        TVector right = TLanes.Add(TLanes.Add(TLanes.Load(from), TLanes.Load(from + stride)), TLanes.Add(TLanes.Load(from + (2 * stride)), TLanes.Load(from + (3 * stride))));
        return TLanes.Add(left, right);
    }
}
