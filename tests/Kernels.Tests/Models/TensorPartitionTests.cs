using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.TestKit;
using CsCheck;

namespace Cluster.Kernels.Tests.Models;

/// <summary>Cuts of a model over ranks and stages: everything exactly once, contiguous, balanced.</summary>
public sealed class TensorPartitionTests
{
    [Fact]
    public void Shares_cover_everything_once_in_order_and_differ_by_one_unit_at_most() => Gen.Select(Gen.Int[0, 5000], Gen.Int[1, 40], Gen.OneOf(Gen.Const(1), Gen.Const(2), Gen.Const(32), Gen.Const(64), Gen.Const(256))).Sample((total, parts, unit) =>
    {
        Share[] shares = [.. Enumerable.Range(0, parts).Select(part => Share.Of(total, parts, part, unit))];
        Assert.Equal(0, shares[0].Start);
        Assert.Equal(total, shares[^1].End);
        for (int part = 1; part < parts; part++)
            Assert.Equal(shares[part - 1].End, shares[part].Start);
        int[] units = [.. shares.Select(share => (share.Count + unit - 1) / unit)];
        Assert.True(units.Max() - units.Min() <= 1, $"{string.Join(", ", units)} units");
        Assert.All(shares.Where(share => share.Count > 0), share => Assert.Equal(0, share.Start % unit));
    });

    [Fact]
    public void Heads_columns_and_tokens_are_cut_so_that_every_query_head_finds_its_keys() =>
        Gen.Select(Gen.Int[1, 12], Gen.Int[1, 9], Gen.OneOf(Gen.Const(8), Gen.Const(16), Gen.Const(24), Gen.Const(64)), Gen.Int[1, 90], Gen.OneOf(Gen.Const(1), Gen.Const(32), Gen.Const(256)), Gen.Int[0, 1000]).Sample((kvHeads, group, headDim, columns, block, seed) =>
        {
            ModelConfig config = Config(kvHeads * group, kvHeads, headDim, columns * block * kvHeads * group);
            int size = 1 + (seed % config.QueryHeads);
            TensorPartition[] ranks = [.. Enumerable.Range(0, size).Select(rank => TensorPartition.For(config, rank, size, block))];
            Covers(config.QueryHeads, ranks.Select(rank => rank.QueryHeads));
            Covers(config.IntermediateSize, ranks.Select(rank => rank.Intermediate));
            Covers(config.VocabularySize, ranks.Select(rank => rank.Vocabulary));
            Assert.InRange(ranks.Max(rank => rank.QueryHeads.Count) - ranks.Min(rank => rank.QueryHeads.Count), 0, 1);
            foreach (TensorPartition rank in ranks)
                CheckHeads(rank, config, group, block);
        });

    [Fact]
    public void A_rank_of_even_groups_has_the_layout_of_whole_groups()
    {
        ModelConfig config = Config(32, 8, 128, 1024);
        Assert.Equal(new QkvLayout(8, 2, 128), TensorPartition.For(config, 3, 4).Layout);
        Assert.Equal(new QkvLayout(2, 1, 128), TensorPartition.For(config, 5, 16).Layout);
        Assert.Equal(new Share(2, 1), TensorPartition.For(config, 5, 16).KvHeads);
        Assert.Equal(new QkvLayout(11, 4, 128) { Group = 4, GroupOffset = 3 }, TensorPartition.For(config, 1, 3).Layout);
    }

    [Theory]
    [InlineData(1, 1, true)]
    [InlineData(2, 1, true)]
    [InlineData(4, 1, true)]
    [InlineData(8, 1, true)]
    [InlineData(3, 1, false)]
    [InlineData(5, 1, false)]
    [InlineData(2, 32, true)]
    [InlineData(4, 32, false)]      // 704 columns are 22 groups of 32
    public void Splits_that_keep_whole_segments_of_one_shard_are_aligned(int size, int block, bool expected) =>
        Assert.Equal(expected, TensorPartition.For(Config(8, 4, 32, 704), 0, size, block).IsAligned);

    [Fact]
    public void Ranks_that_would_hold_nothing_are_refused()
    {
        ModelConfig config = Config(8, 4, 32, 704);
        Assert.Contains("1..8", Assert.Throws<ShardSpecException>(() => TensorPartition.For(config, 0, 9)).Message);
        Assert.Contains("1..2", Assert.Throws<ShardSpecException>(() => TensorPartition.For(config with { IntermediateSize = 64 }, 0, 4, 32)).Message);
    }

    private static void CheckHeads(TensorPartition rank, ModelConfig config, int group, int block)
    {
        QkvLayout layout = rank.Layout;
        Assert.True(layout.IsValid);
        Assert.Equal((rank.QueryHeads.Count, rank.KvHeads.Count), (layout.QueryHeads, layout.KvHeads));
        for (int head = 0; head < layout.QueryHeads; head++)
            Assert.Equal((rank.QueryHeads.Start + head) / group, rank.KvHeads.Start + ((layout.GroupOffset + head) / layout.Group));
        // The output weight's columns hold the heads, in whole blocks where it is stored in such.
        Assert.Equal(rank.QueryHeads.Start * config.HeadDim, rank.OutputColumns.Start + layout.OutputOffset);
        Assert.True(rank.OutputColumns.End >= rank.QueryHeads.End * config.HeadDim && rank.OutputColumns.End <= config.QueryHeads * config.HeadDim);
        int stored = (config.QueryHeads * config.HeadDim) % block == 0 ? block : 1;
        Assert.Equal((0, 0), (rank.OutputColumns.Start % stored, rank.OutputColumns.Count % stored));
        Assert.Equal(0, rank.Intermediate.Count % block);
    }

    private static void Covers(int total, IEnumerable<Share> shares)
    {
        int end = 0;
        foreach (Share share in shares)
        {
            Assert.Equal(end, share.Start);
            Assert.True(share.Count > 0);
            end = share.End;
        }
        Assert.Equal(total, end);
    }

    private static ModelConfig Config(int queryHeads, int kvHeads, int headDim, int intermediate) =>
        ModelConfig.Load(SharedData.InRepository("models", "cluster-demo")) with
        {
            QueryHeads = queryHeads,
            KvHeads = kvHeads,
            HeadDim = headDim,
            IntermediateSize = intermediate,
            VocabularySize = 3001,
        };
}
