using System.Globalization;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>What one shard holds of a model: a stage's layers, and of each of them one tensor rank's part.</summary>
/// <param name="Tensor">Part of every layer.</param>
/// <param name="Layers">Layers of the stage.</param>
/// <param name="HasEmbedding">Whether tokens enter here: the first stage.</param>
/// <param name="HasHead">Whether final norm and LM head are here: the last stage.</param>
internal sealed record ShardPart(TensorPartition Tensor, Share Layers, bool HasEmbedding, bool HasHead)
{
    /// <summary>The part that a spec means.</summary>
    /// <param name="spec">Ranks and stages.</param>
    /// <param name="config">The model.</param>
    /// <param name="block">Weights that are stored together along K.</param>
    /// <exception cref="ShardSpecException">There are too few heads, columns or layers.</exception>
    public static ShardPart For(ShardSpec spec, ModelConfig config, int block = 1)
    {
        (int stage, int stages) = spec.Pipeline;
        Within("Pipeline.Size", stages, 1, config.Layers.Count);
        Within("Pipeline.Stage", stage, 0, stages - 1);
        Within("TensorParallel.Rank", spec.TensorParallel.Rank, 0, Math.Max(0, spec.TensorParallel.Size - 1));
        TensorPartition tensor = TensorPartition.For(config, spec.TensorParallel.Rank, spec.TensorParallel.Size, block);
        return new ShardPart(tensor, Share.Of(config.Layers.Count, stages, stage), stage == 0, stage == stages - 1);
    }

    private static void Within(string field, int value, int minimum, int maximum)
    {
        if (value < minimum || value > maximum)
            throw new ShardSpecException(field, $"{minimum}..{maximum}", value.ToString(CultureInfo.InvariantCulture));
    }
}
