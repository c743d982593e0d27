using Cluster.Kernels.Execution;

namespace Cluster.TestKit;

/// <summary>A sequence that a test feeds to a shard by hand: its tokens, how many are computed, and the blocks it owns.</summary>
/// <param name="blocks">Block ids in order; enough for all tokens.</param>
public sealed class TestSequence(IEnumerable<int> tokens, int[] blocks)
{
    /// <summary>Known tokens.</summary>
    public List<int> Tokens { get; } = [.. tokens];

    /// <summary>Blocks in order.</summary>
    public int[] Blocks { get; } = blocks;

    /// <summary>Tokens whose keys and values are in the cache.</summary>
    public int Computed { get; set; }

    /// <summary>
    /// Makes the batch that computes the next <c>Rows</c> tokens of each sequence, and marks them as computed. Logits are
    /// asked for the last row of each sequence, or for every row.
    /// </summary>
    public static ForwardBatch Batch(int blockSize, IReadOnlyList<(TestSequence Sequence, int Rows)> parts, LogitRequest request, bool everyRow = false)
    {
        List<int> tokens = [], positions = [], slots = [], rowStarts = [0], contexts = [], blockTable = [], blockStarts = [0], logitRows = [];
        foreach ((TestSequence sequence, int rows) in parts)
        {
            for (int position = sequence.Computed; position < sequence.Computed + rows; position++)
            {
                if (everyRow || position == sequence.Computed + rows - 1)
                    logitRows.Add(tokens.Count);
                tokens.Add(sequence.Tokens[position]);
                positions.Add(position);
                slots.Add(sequence.Blocks[position / blockSize] * blockSize + position % blockSize);
            }
            sequence.Computed += rows;
            rowStarts.Add(tokens.Count);
            contexts.Add(sequence.Computed);
            blockTable.AddRange(sequence.Blocks);
            blockStarts.Add(blockTable.Count);
        }
        return new ForwardBatch
        {
            Rows = tokens.Count,
            Sequences = parts.Count,
            TokenIds = [.. tokens],
            Positions = [.. positions],
            SlotMapping = [.. slots],
            RowStarts = [.. rowStarts],
            ContextLengths = [.. contexts],
            BlockTable = [.. blockTable],
            BlockStarts = [.. blockStarts],
            LogitRows = [.. logitRows],
            Logits = [.. logitRows.Select(_ => request)],
        };
    }

    /// <summary>A request for the greedy token and nothing else.</summary>
    public static LogitRequest Greedy { get; } = new(new Kernels.Sampling.SamplingState
    {
        Parameters = new Kernels.Sampling.SamplingParameters { Temperature = 0 },
        Seed = 0,
        Choice = 0,
        Position = 0,
        Tokens = default,
        PromptLength = 0,
    }, -1, -1);
}
