using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>The pool computes every chunk once, reports failures, and allocates nothing; nor do the ops.</summary>
public sealed unsafe class CpuThreadPoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void EveryChunk_RunsOnceWhateverTheWorkersDo(int threads)
    {
        using var pool = new CpuThreadPool(threads, "test");
        int* counts = stackalloc int[64];
        var random = new Random(1);
        for (int round = 1; round <= 2000; round++)
        {
            int chunks = random.Next(0, 64);
            new Span<int>(counts, 64).Clear();
            pool.Run(chunks, long.MaxValue, counts, &Count);
            for (int i = 0; i < 64; i++)
                Assert.Equal(i < chunks ? 1 : 0, counts[i]);

            // Long enough now and then for the workers to park.
            if (round % 100 == 0)
                Thread.SpinWait(20_000);
        }
    }

    [Fact]
    public void Failure_ReachesTheCallerAndThePoolGoesOn()
    {
        using var pool = new CpuThreadPool(3, "test");
        for (int round = 0; round < 20; round++)
        {
            var failure = Assert.Throws<InvalidOperationException>(() => pool.Run(8, long.MaxValue, null, &Fail));
            Assert.IsType<NotSupportedException>(failure.InnerException);
        }

        int count = 0;
        pool.Run(1, long.MaxValue, &count, &Count);
        Assert.Equal(1, count);
    }

    [Fact]
    public void SteadyState_AllocatesNothing()
    {
        var layout = new QkvLayout(4, 2, 16);
        using var bench = new CpuBench(2);
        using LinearWeight weight = bench.Weight(CpuBench.Values(64 * layout.Width, 1), layout.Width, DType.BFloat16, LinearRole.ColumnParallel);
        using LinearWeight back = bench.Weight(CpuBench.Values(64 * 64, 2), 64, DType.BFloat16, LinearRole.RowParallel);
        using VectorWeight norm = bench.Ops.LoadVector(bench.Tensor(CpuBench.Values(64, 3), 1));
        using RotaryTable rotary = bench.Ops.LoadRotary(new float[64 * 8], new float[64 * 8], 16);
        using EmbeddingTable table = bench.Ops.LoadEmbedding(bench.Tensor(CpuBench.Values(64 * 10, 4), 10));
        using KvCache cache = bench.Ops.AllocateKvCache(new KvCacheShape(1, 4, 16, 2, 16, DType.Float32));
        using DeviceBuffer hidden = bench.Buffer(4, 64), qkv = bench.Buffer(4, layout.Width), attended = bench.Buffer(4, 64), lse = bench.Buffer(4, 4);
        using ExpertWeights experts = bench.Ops.LoadExperts(new ExpertSource(
            [bench.Tensor(CpuBench.Values(2048, 5), 32)], [bench.Tensor(CpuBench.Values(2048, 6), 32)], [bench.Tensor(CpuBench.Values(2048, 7), 64)]));
        using ExpertRouting routing = bench.Ops.AllocateRouting(4, 1);
        using DeviceBuffer logits = bench.Buffer(4, 1);
        var batch = new ForwardBatch
        {
            Rows = 4, Sequences = 1, TokenIds = [1, 2, 3, 4], Positions = [0, 1, 2, 3], SlotMapping = [0, 1, 2, 3], RowStarts = [0, 4],
            ContextLengths = [4], BlockTable = [0], BlockStarts = [0, 1], LogitRows = [], Logits = [],
        };
        void Step()
        {
            DeviceBatch step = bench.Ops.Prepare(batch);
            bench.Ops.EmbedRows(step, table, hidden);
            bench.Ops.NormLinear(4, hidden, norm, 1e-6f, weight, qkv);
            bench.Ops.Rotate(step, qkv, layout, rotary, null);
            bench.Ops.StoreKv(step, qkv, layout, cache, 0);
            bench.Ops.Attention(step, qkv, layout, cache, 0, KeyRange.All, attended, lse);
            bench.Ops.MergeAttention(4, layout, attended, lse, attended, lse);
            bench.Ops.Linear(4, attended, back, hidden, LinearMode.Add);
            bench.Ops.RouteTopK(4, logits, renormalise: true, routing);
            bench.Ops.ExpertMlp(4, attended, experts, routing, hidden);
            bench.Ops.AddGated(4, attended, logits, hidden);
        }

        for (int i = 0; i < 50; i++)
            Step();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            Step();
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    private static void Count(void* job, int chunk, int thread) => Interlocked.Increment(ref ((int*)job)[chunk]);

    private static void Fail(void* job, int chunk, int thread) => throw new NotSupportedException();
}
