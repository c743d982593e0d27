using System.Globalization;
using System.Numerics;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// What one rank of a tensor-parallel group holds of every layer: query heads, columns between gate/up and down, and token ids are cut
/// contiguously by largest remainder; KV heads follow the query heads, so that one that two ranks need lives on both.
/// </summary>
internal sealed record TensorPartition
{
    /// <summary>Segments in which a row-parallel linear sums K on one shard.</summary>
    public const int Segments = LinearSource.RowParallelSegments;

    /// <summary>Token ids that stay together: blocks of the random numbers (<see cref="Sampling.GumbelNoise"/>).</summary>
    public const int VocabularyUnit = Sampling.GumbelNoise.BlockTokens;

    private TensorPartition()
    {
    }

    /// <summary>This rank.</summary>
    public required int Rank { get; init; }

    /// <summary>Number of ranks.</summary>
    public required int Size { get; init; }

    /// <summary>Query heads.</summary>
    public required Share QueryHeads { get; init; }

    /// <summary>KV heads that these query heads read.</summary>
    public required Share KvHeads { get; init; }

    /// <summary>Columns of the attention output's weight: those of the query heads, in whole blocks of what is stored.</summary>
    public required Share OutputColumns { get; init; }

    /// <summary>Columns between gate/up and down of a dense MLP.</summary>
    public required Share Intermediate { get; init; }

    /// <summary>Columns between gate/up and down of a routed expert.</summary>
    public required Share ExpertColumns { get; init; }

    /// <summary>Columns between gate/up and down of the shared expert.</summary>
    public required Share SharedColumns { get; init; }

    /// <summary>Token ids whose logits this rank computes.</summary>
    public required Share Vocabulary { get; init; }

    /// <summary>Where this rank's heads lie in a fused row.</summary>
    public required QkvLayout Layout { get; init; }

    /// <summary>
    /// Whether every row-parallel linear of the group sums the same segments of K as one shard does, so that results are bitwise those
    /// of one shard. Otherwise they agree within rounding.
    /// </summary>
    public required bool IsAligned { get; init; }

    /// <summary>Segments of this rank's part of K: 8 over the ranks, as far as that goes.</summary>
    public int RankSegments => Math.Max(1, Segments / (int)BitOperations.RoundUpToPowerOf2((uint)Size));

    /// <summary>Computes the part of a rank.</summary>
    /// <param name="config">The model.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="size">Number of ranks.</param>
    /// <param name="block">Weights that are stored together along K: 1, or those of a quantised block.</param>
    /// <exception cref="ShardSpecException">A rank would hold nothing of a layer.</exception>
    public static TensorPartition For(ModelConfig config, int rank, int size, int block = 1)
    {
        Within("TensorParallel.Size", size, config.QueryHeads);
        Within("TensorParallel.Rank", rank + 1, size);
        Share Columns(int total) => total == 0 ? default : Share.Of(total, size, rank, ColumnUnit(total, size, block));
        int group = config.QueryHeads / config.KvHeads;
        Share queries = Share.Of(config.QueryHeads, size, rank);
        var keys = new Share(queries.Start / group, ((queries.End - 1) / group) + 1 - (queries.Start / group));
        var columns = new Share(queries.Start * config.HeadDim, queries.Count * config.HeadDim);
        Share output = columns.Widen(BlockOf(config.QueryHeads * config.HeadDim, block));
        bool isDense = config.Layers.Any(layer => !layer.HasExperts);
        Share intermediate = isDense ? Columns(config.IntermediateSize) : default;
        Share experts = Columns(config.Experts?.IntermediateSize ?? 0), shared = Columns(config.Experts?.SharedIntermediateSize ?? 0);
        return new TensorPartition
        {
            Rank = rank,
            Size = size,
            QueryHeads = queries,
            KvHeads = keys,
            OutputColumns = output,
            Intermediate = intermediate,
            ExpertColumns = experts,
            SharedColumns = shared,
            Vocabulary = VocabularyOf(config, rank, size),
            Layout = LayoutOf(queries, keys, group, config.HeadDim) with { OutputOffset = columns.Start - output.Start },
            IsAligned = size is 1 or 2 or 4 or 8 && config.QueryHeads % size == 0 && Divides(config.QueryHeads * config.HeadDim, size, block)
                && Divides(isDense ? config.IntermediateSize : 0, size, block)
                && Divides(config.Experts?.IntermediateSize ?? 0, size, block) && Divides(config.Experts?.SharedIntermediateSize ?? 0, size, block),
        };
    }

    /// <summary>Token ids whose logits a rank computes.</summary>
    public static Share VocabularyOf(ModelConfig config, int rank, int size)
    {
        // One by one only where there are too few for the ranks.
        bool isEnough = (config.VocabularySize + VocabularyUnit - 1) / VocabularyUnit >= size;
        return Share.Of(config.VocabularySize, size, rank, isEnough ? VocabularyUnit : 1);
    }

    // Groups as small as the heads allow: attention computes all query heads of a group, whether they are here or not.
    private static QkvLayout LayoutOf(Share queries, Share keys, int group, int headDim)
    {
        int offset = queries.Start - (keys.Start * group), first = Math.Min(queries.Count, group - offset), last = queries.Count - first;
        (group, offset) = keys.Count switch
        {
            1 => (first, 0),
            2 => (Math.Max(first, last), Math.Max(first, last) - first),
            _ => (group, offset),
        };
        return new QkvLayout(queries.Count, keys.Count, headDim) { Group = group, GroupOffset = offset };
    }

    // Blocks are cut between only; floating-point panels hold pairs.
    private static int ColumnUnit(int total, int size, int block)
    {
        int unit = BlockOf(total, block);
        if (unit == 1 && total % 2 == 0 && total / 2 >= size)
            unit = 2;
        Within("TensorParallel.Size", size, total / unit);
        return unit;
    }

    // A tensor whose rows are no whole blocks is stored in smaller ones, or in none.
    private static int BlockOf(int total, int block)
    {
        while (block > 1 && total % block != 0)
            block = block > QuantizedGroup ? QuantizedGroup : 1;
        return block;
    }

    private const int QuantizedGroup = 32;

    private static bool Divides(int total, int size, int block) => size == 1 || total % (size * Math.Max(2, BlockOf(total, block))) == 0;

    private static void Within(string field, int value, int maximum)
    {
        if (value < 1 || value > maximum)
            throw new ShardSpecException(field, $"1..{maximum} for this model", value.ToString(CultureInfo.InvariantCulture));
    }
}
