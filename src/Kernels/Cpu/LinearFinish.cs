using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>The end of every linear: merges the segments of K, adds the bias, writes y.</summary>
internal static unsafe class LinearFinish<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    /// <summary>Writes a tile's outputs from sums[segment, row, lane].</summary>
    public static void Write(in LinearJob job, in PanelStreams streams, int tile, float* sums)
    {
        int vectors = streams.Vectors(tile);
        int lanes = vectors * TLanes.Width;
        long segmentStride = (long)job.Rows * lanes;
        for (int vector = 0; vector < vectors; vector++)
        {
            int first = streams.Vector(tile, vector) * TLanes.Width;
            int full = Math.Min(TLanes.Width, job.Outputs - first);
            for (int row = 0; row < job.Rows; row++)
            {
                float* from = sums + ((long)row * lanes) + (vector * TLanes.Width);
                float* to = job.Y + (row * job.YStride) + first;
                if (full == TLanes.Width)
                    WriteVector(job, from, segmentStride, first, to);
                for (int lane = 0; lane < full && full < TLanes.Width; lane++)
                    LinearFinish<LanesScalar, float>.WriteVector(job, from + lane, segmentStride, first + lane, to + lane);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void WriteVector(in LinearJob job, float* from, long segmentStride, int output, float* to)
    {
        TVector result = job.Segments == 1 ? TLanes.Load(from) : Tree(from, segmentStride, job.Segments);
        if (job.Bias is not null)
            result = TLanes.Add(result, TLanes.Load(job.Bias + output));
        if (job.Add)
            result = TLanes.Add(TLanes.Load(to), result);
        TLanes.Store(to, result);
    }

    /// <summary>The balanced binary tree that an all-reduce over ranks continues.</summary>
    private static TVector Tree(float* from, long stride, int segments)
    {
        if (segments == 2)
            return TLanes.Add(TLanes.Load(from), TLanes.Load(from + stride));
        TVector left = TLanes.Add(TLanes.Add(TLanes.Load(from), TLanes.Load(from + stride)), TLanes.Add(TLanes.Load(from + (2 * stride)), TLanes.Load(from + (3 * stride))));
        if (segments == 4)
            return left;
        from += 4 * stride;
        TVector right = TLanes.Add(TLanes.Add(TLanes.Load(from), TLanes.Load(from + stride)), TLanes.Add(TLanes.Load(from + (2 * stride)), TLanes.Load(from + (3 * stride))));
        return TLanes.Add(left, right);
    }
}
