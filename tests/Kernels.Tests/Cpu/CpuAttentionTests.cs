using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>Attention: a row's bits depend on its own keys only.</summary>
public sealed class CpuAttentionTests
{
    public static TheoryData<int, int, int, int, DType, int> Shapes => new()
    {
        // query heads, KV heads, head elements, block size, KV type, window
        { 4, 1, 16, 16, DType.Float32, 0 },
        { 8, 2, 32, 16, DType.BFloat16, 0 },
        { 6, 2, 24, 8, DType.Float32, 0 },
        { 2, 2, 9, 5, DType.Float32, 0 },
        { 7, 1, 40, 24, DType.Float32, 50 },
        { 4, 2, 16, 32, DType.BFloat16, 33 },
        { 4, 2, 16, 2, DType.BFloat16, 7 },
        { 8, 2, 64, 16, DType.BFloat16, 0 },
        { 6, 3, 72, 16, DType.Float32, 0 },
        { 2, 1, 16, 1, DType.Float32, 3 },
        { 5, 1, 80, 64, DType.Float32, 0 },
        { 8, 2, 64, 16, DType.Int8, 0 },
        { 7, 1, 40, 24, DType.Int8, 50 },
        { 6, 3, 18, 2, DType.Int8, 9 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Oracle_Agrees(int queryHeads, int kvHeads, int headDim, int blockSize, DType type, int window)
    {
        var layout = new QkvLayout(queryHeads, kvHeads, headDim);
        const int Length = 150;
        float[] rows = CpuBench.Values(Length * layout.Width, 1);
        double[] expected = [.. Enumerable.Range(0, Length).SelectMany(row => Oracle(rows, layout, row, type, window))];
        foreach (CpuPath path in CpuBench.Paths)
        {
            using var step = new AttentionBench(layout, blockSize, type, threads: 1, path);
            float[] output = step.Run(rows, [Length], window).Output;
            CpuBench.AssertClose(expected, output, 2e-5, $"{path}");
        }
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void ChunkingAndPathsAndThreads_ChangeNoBit(int queryHeads, int kvHeads, int headDim, int blockSize, DType type, int window)
    {
        var layout = new QkvLayout(queryHeads, kvHeads, headDim);
        const int Length = 150;
        float[] rows = CpuBench.Values(Length * layout.Width, 2);
        using var whole = new AttentionBench(layout, blockSize, type, threads: 1, CpuPath.Portable);
        (float[] output, float[] lse) = whole.Run(rows, [Length], window);
        foreach (CpuPath path in CpuBench.Paths)
        {
            foreach (int chunk in (int[])[1, 3, 16, 37, 64, 100])
            {
                int[] chunks = [.. Enumerable.Range(0, (Length + chunk - 1) / chunk).Select(i => Math.Min(chunk, Length - (i * chunk)))];
                using var step = new AttentionBench(layout, blockSize, type, threads: 1 + (chunk % 4), path);
                (float[] chunked, float[] chunkedLse) = step.Run(rows, chunks, window);
                CpuBench.AssertSameBits(output, chunked, $"{path}, chunks of {chunk}");
                CpuBench.AssertSameBits(lse, chunkedLse, $"{path}, chunks of {chunk}");
            }
        }
    }

    [Fact]
    public void StaleValuesOfOtherSequences_DoNotLeak()
    {
        var layout = new QkvLayout(2, 1, 16);
        using var step = new AttentionBench(layout, 16, DType.Float32, threads: 1, CpuPaths.Best);
        float[] rows = CpuBench.Values(70 * layout.Width, 3);
        (float[] clean, _) = step.Run(rows[..(5 * layout.Width)], [5], 0);
        float[] poison = [.. rows];
        Array.Fill(poison, float.NaN);
        step.Run(poison, [70], 0);
        (float[] after, _) = step.Run(rows[..(5 * layout.Width)], [5], 0);
        CpuBench.AssertSameBits(clean, after, "after NaN in the blocks");
    }

    [Fact]
    public void PartsMerged_EqualTheWhole()
    {
        var layout = new QkvLayout(4, 2, 32);
        const int Length = 200;
        float[] rows = CpuBench.Values(Length * layout.Width, 4);
        using var step = new AttentionBench(layout, 16, DType.Float32, threads: 2, CpuPaths.Best);
        (float[] whole, float[] wholeLse) = step.Run(rows, [Length], 0);
        foreach (int cut in (int[])[1, 64, 77, 199, 200, 500])
        {
            (float[] merged, float[] lse) = step.RunParts(rows, Length, [new KeyRange(0, cut, 0), new KeyRange(cut, int.MaxValue, 0)]);
            CpuBench.AssertClose([.. whole.Select(value => (double)value)], merged, 1e-6, $"cut at {cut}");
            CpuBench.AssertClose([.. wholeLse.Select(value => (double)value)], lse, 1e-6, $"cut at {cut}");
        }

        (float[] zigzag, _) = step.RunParts(rows, Length, [new KeyRange(60, 130, 0), new KeyRange(0, 60, 0), new KeyRange(130, int.MaxValue, 0)]);
        CpuBench.AssertClose([.. whole.Select(value => (double)value)], zigzag, 1e-6, "three parts");
    }

    /// <summary>Over several segments of keys, which one thread folds and several threads compute apart.</summary>
    [Theory]
    [InlineData(4, 1, 32, 16, DType.BFloat16, 0)]
    [InlineData(4, 2, 16, 16, DType.Int8, 0)]
    [InlineData(2, 1, 24, 16, DType.Float32, 1300)]
    public void LongSequences_AreTheSameForAnyThreadsAndChunks(int queryHeads, int kvHeads, int headDim, int blockSize, DType type, int window)
    {
        var layout = new QkvLayout(queryHeads, kvHeads, headDim);
        const int Length = 2600;
        float[] rows = CpuBench.Values(Length * layout.Width, 5);
        int[] last = [Length - 7, 1, 5, 1];
        using var whole = new AttentionBench(layout, blockSize, type, threads: 1, CpuPaths.Best, Length);
        (float[] output, float[] lse) = whole.Run(rows, [Length], window);
        foreach (int row in (int[])[1023, 1024, 2047, 2599])
            CpuBench.AssertClose(Oracle(rows, layout, row, type, window), output.AsSpan(row * layout.QueryWidth, layout.QueryWidth), 2e-5, $"row {row}");
        foreach (CpuPath path in CpuBench.Paths)
        {
            foreach (int threads in (int[])[1, 2, 7])
            {
                using var step = new AttentionBench(layout, blockSize, type, threads, path, Length);
                (float[] chunked, float[] chunkedLse) = step.Run(rows, last, window);
                CpuBench.AssertSameBits(output, chunked, $"{path}, {threads} threads");
                CpuBench.AssertSameBits(lse, chunkedLse, $"{path}, {threads} threads");
            }
        }
    }

    [Fact]
    public void StaleInt8FactorsOfOtherSequences_DoNotLeak()
    {
        var layout = new QkvLayout(2, 1, 16);
        using var step = new AttentionBench(layout, 16, DType.Int8, threads: 1, CpuPaths.Best);
        float[] rows = CpuBench.Values(70 * layout.Width, 3);
        (float[] clean, _) = step.Run(rows[..(5 * layout.Width)], [5], 0);
        float[] poison = [.. rows];
        Array.Fill(poison, float.NaN);
        Assert.All(step.Run(poison, [70], 0).Output, value => Assert.True(float.IsNaN(value)));
        (float[] after, _) = step.Run(rows[..(5 * layout.Width)], [5], 0);
        CpuBench.AssertSameBits(clean, after, "after NaN in the blocks");
    }

    [Fact]
    public void BadIndices_AreRefused()
    {
        var layout = new QkvLayout(2, 1, 16);
        using var step = new AttentionBench(layout, 16, DType.Float32, threads: 1, CpuPaths.Best);
        Assert.Throws<ArgumentException>(() => step.RunWithBlock(1_000_000));
        Assert.Throws<ArgumentException>(() => step.RunWithBlock(-1));
    }

    /// <summary>Softmax in double precision over the row's keys, rounded as the cache rounds them.</summary>
    private static double[] Oracle(float[] rows, QkvLayout layout, int row, DType type, int window)
    {
        var output = new double[layout.QueryWidth];
        int first = window > 0 ? Math.Max(0, row - window + 1) : 0;
        for (int head = 0; head < layout.QueryHeads; head++)
        {
            int kvHead = head / (layout.QueryHeads / layout.KvHeads);
            double[][] keys = [.. Enumerable.Range(0, row + 1).Select(key => Stored(rows, (key * layout.Width) + layout.QueryWidth + (kvHead * layout.HeadDim)))];
            double[][] values = [.. Enumerable.Range(0, row + 1).Select(key => Stored(rows, (key * layout.Width) + layout.QueryWidth + layout.KvWidth + (kvHead * layout.HeadDim)))];
            double Score(int key) => Enumerable.Range(0, layout.HeadDim).Sum(d =>
                (double)rows[(row * layout.Width) + (head * layout.HeadDim) + d]
                * keys[key][d]) / Math.Sqrt(layout.HeadDim);
            double[] weights = [.. Enumerable.Range(first, row + 1 - first).Select(key => Math.Exp(Score(key)))];
            for (int d = 0; d < layout.HeadDim; d++)
                output[(head * layout.HeadDim) + d] = Enumerable.Range(first, row + 1 - first).Sum(key => weights[key - first] * values[key][d]) / weights.Sum();
        }

        return output;

        double[] Stored(float[] all, int at) => KvRounding.Of(all.AsSpan(at, layout.HeadDim), type);
    }
}
