using System.Numerics;
using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// The sum over ranks. One tree for every medium and slice: neighbours in rank order first, then pairs of pairs; a lone last
/// subtree joins when nothing is left to its right. This is the order in which a row-parallel linear merges the segments of K.
/// </summary>
internal static unsafe class TreeSum
{
    private const int BlockFloats = 512;
    private const int MaxLevels = 16;

    /// <summary>destination[i] = tree over r of sources[r][i]. The destination may be one of the sources.</summary>
    public static void Add(float** sources, int ranks, float* destination, int length)
    {
        switch (ranks)
        {
            case 1:
                if (sources[0] != destination)
                    new ReadOnlySpan<float>(sources[0], length).CopyTo(new Span<float>(destination, length));
                break;
            case 2:
                Pair(sources[0], sources[1], destination, length);
                break;
            case 4:
                Four(sources, destination, length);
                break;
            default:
                AddBlocks(sources, ranks, destination, length);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Pair(float* left, float* right, float* destination, int length)
    {
        int i = 0;
        for (; i <= length - (2 * Vector<float>.Count); i += 2 * Vector<float>.Count)
        {
            Vector<float> low = Vector.Load(left + i) + Vector.Load(right + i);
            Vector<float> high = Vector.Load(left + i + Vector<float>.Count) + Vector.Load(right + i + Vector<float>.Count);
            low.Store(destination + i);
            high.Store(destination + i + Vector<float>.Count);
        }

        for (; i < length; i++)
            destination[i] = left[i] + right[i];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Four(float** sources, float* destination, int length)
    {
        float* a = sources[0], b = sources[1], c = sources[2], d = sources[3];
        int i = 0;
        for (; i <= length - Vector<float>.Count; i += Vector<float>.Count)
            ((Vector.Load(a + i) + Vector.Load(b + i)) + (Vector.Load(c + i) + Vector.Load(d + i))).Store(destination + i);
        for (; i < length; i++)
            destination[i] = (a[i] + b[i]) + (c[i] + d[i]);
    }

    // Finished subtrees stand on a stack, the largest at the bottom, as the ones stand in the binary number of ranks seen.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddBlocks(float** sources, int ranks, float* destination, int length)
    {
        float* stack = stackalloc float[MaxLevels * BlockFloats];
        for (int start = 0; start < length; start += BlockFloats)
        {
            int count = Math.Min(BlockFloats, length - start), depth = 0;
            for (int rank = 0; rank < ranks; rank++)
            {
                new ReadOnlySpan<float>(sources[rank] + start, count).CopyTo(new Span<float>(stack + (depth++ * BlockFloats), count));
                for (int seen = rank + 1; (seen & 1) == 0; seen >>= 1)
                    Fold(stack, ref depth, count);
            }

            while (depth > 1)
                Fold(stack, ref depth, count);
            new ReadOnlySpan<float>(stack, count).CopyTo(new Span<float>(destination + start, count));
        }
    }

    private static void Fold(float* stack, ref int depth, int count)
    {
        depth--;
        float* left = stack + ((depth - 1) * BlockFloats);
        Pair(left, left + BlockFloats, left, count);
    }
}
