using Cluster.Contracts;
using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Decoding;

/// <summary>
/// Prompt lookup: the last tokens of a sequence are looked for earlier in it, the longest ending first, and what followed them the
/// last time is the guess (Saxena 2023, "Prompt Lookup Decoding"). Needs no model and no state: an ending is found by a vectorised scan.
/// </summary>
internal sealed class NgramProposer(SpeculativeConfig config) : IProposer
{
    private readonly int[] _draft = new int[SpeculativeConfig.MaxTokens];

    /// <inheritdoc/>
    public bool IsFree => true;

    /// <inheritdoc/>
    public ValueTask ProposeAsync(IReadOnlyList<Sequence> sequences, ReadOnlyMemory<int> most)
    {
        for (int i = 0; i < sequences.Count; i++)
        {
            Span<int> draft = _draft.AsSpan(0, most.Span[i]);
            sequences[i].Propose(draft[..Guess(sequences[i].Tokens, draft)]);
        }

        return ValueTask.CompletedTask;
    }

    /// <summary>Fills <paramref name="draft"/> with what followed the last tokens before; returns how many tokens that are.</summary>
    internal int Guess(ReadOnlySpan<int> tokens, Span<int> draft)
    {
        for (int length = Math.Min(config.PromptLookupMax, tokens.Length - 1); length >= config.PromptLookupMin; length--)
        {
            int found = tokens[..^1].LastIndexOf(tokens[^length..]);
            if (found >= 0)
                return Continue(tokens, found + length, draft);
        }

        return 0;
    }

    // Where what followed is the ending itself, the sequence repeats, and so does the guess.
    private static int Continue(ReadOnlySpan<int> tokens, int next, Span<int> draft)
    {
        for (int i = 0; i < draft.Length; i++)
            draft[i] = next + i < tokens.Length ? tokens[next + i] : draft[next + i - tokens.Length];
        return draft.Length;
    }
}
