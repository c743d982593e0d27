using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Silo.Hosting;
using Cluster.TestKit;

namespace Cluster.Silo.Tests.Hosting;

/// <summary>How large the KV cache becomes.</summary>
public sealed class KvBudgetTests
{
    private static readonly ModelConfig Model = ModelConfig.Load(SharedData.InRepository("tests", "Checkpoints", "llama"));

    private static long BlockBytes(int blockSize) => 2L * Model.Layers.Count * blockSize * Model.KvHeads * Model.HeadDim * 4;

    [Fact]
    public void Int8_HoldsAFactorPerTokenAndHead()
    {
        KvBudget exact = KvBudget.For(new ClusterOptions { MaxNumSeqs = 3 }, Model, DType.Float32, ModelLayout.Single, long.MaxValue);
        KvBudget narrow = KvBudget.For(new ClusterOptions { MaxNumSeqs = 3 }, Model, DType.Int8, ModelLayout.Single, long.MaxValue);
        Assert.Equal(exact.Bytes / (4 * Model.HeadDim) * (Model.HeadDim + 4), narrow.Bytes);
        Assert.Equal(exact.Tokens, narrow.Tokens);
    }

    [Fact]
    public void ByDefaultItIsWhatTheSequencesNeed()
    {
        KvBudget budget = KvBudget.For(new ClusterOptions { MaxNumSeqs = 3 }, Model, DType.Float32, ModelLayout.Single, 1L << 40);
        Assert.Equal(Model.ContextLength, budget.MaxModelLength);
        Assert.Equal((Model.ContextLength + 15) / 16 * BlockBytes(16) * 3, budget.Bytes);
    }

    [Fact]
    public void AtMostAQuarterOfFreeMemoryIsTaken()
    {
        KvBudget budget = KvBudget.For(new ClusterOptions { MaxNumSeqs = 65536 }, Model, DType.Float32, ModelLayout.Single, 4 * BlockBytes(16) * 100);
        Assert.Equal(100 * BlockBytes(16), budget.Bytes);
        Assert.Equal(1600, budget.Tokens);
    }

    [Fact]
    public void TheContextShrinksToWhatTheCacheHolds()
    {
        KvBudget budget = KvBudget.For(new ClusterOptions { KvCacheMemoryBytes = 2 * BlockBytes(16) + 5 }, Model, DType.Float32, ModelLayout.Single, 0);
        Assert.Equal((2 * BlockBytes(16), 32L, 32), (budget.Bytes, budget.Tokens, budget.MaxModelLength));
    }

    [Theory]
    [InlineData(1_000_000, null, "--max-model-len: must be at most ")]
    [InlineData(64, 2, "--max-model-len: 64 tokens need ")]
    [InlineData(null, 0, "--kv-cache-memory-bytes: must be at least ")]
    public void WhatCannotBeIsRefused(int? maxModelLength, int? blocks, string problem)
    {
        var options = new ClusterOptions { MaxModelLen = maxModelLength, KvCacheMemoryBytes = blocks * BlockBytes(16) };
        Assert.StartsWith(problem, Assert.Throws<StartFailedException>(() => KvBudget.For(options, Model, DType.Float32, ModelLayout.Single, 1L << 40)).Message, StringComparison.Ordinal);
    }
}
