using Cluster.Grains.Replicas;
using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Decoding;

/// <summary>
/// How a sequence advances when the step draws the target's own token from its last known row and from every row of its draft: as
/// long as the token drawn is the one that was guessed, the next row saw the right history and its token counts too. What is emitted
/// is therefore what plain decoding would emit, whatever the draft was; without a draft this is plain decoding. Ends are decided
/// here, inside the step's commit.
/// </summary>
internal static class CoupledDecoding
{
    /// <summary>What of the drawn tokens counts, and whether the sequence ends with them.</summary>
    /// <param name="rows">The sequence's part of the step; its draft is still there.</param>
    /// <param name="drawn">Tokens drawn by the step: one and one per guess when tokens were sampled, none after a chunk.</param>
    /// <param name="stopTokens">Tokens that end the sequence; such a token still counts.</param>
    public static Advance After(in ScheduledRows rows, ReadOnlySpan<int> drawn, ReadOnlySpan<int> stopTokens)
    {
        Sequence sequence = rows.Sequence;
        if (drawn.Length != (rows.Sample ? 1 + rows.DraftCount : 0))
            throw new InvalidOperationException($"Sequence {sequence.Id} drew {drawn.Length} tokens, sample is {rows.Sample}, draft {rows.DraftCount}.");
        if (!rows.Sample)
        {
            bool isWhole = sequence.Length >= sequence.MaxLength && rows.ComputedTokens + rows.Count >= sequence.Length;
            return new Advance(0, rows.Count, isWhole ? SequenceEnd.Length : null);
        }

        int emitted = 0;
        SequenceEnd? end;
        do
        {
            int token = drawn[emitted++];
            end = stopTokens.Contains(token) ? SequenceEnd.StopToken
                : sequence.Length + emitted >= sequence.MaxLength ? SequenceEnd.Length : null;
        }
        while (end is null && emitted <= rows.DraftCount && drawn[emitted - 1] == sequence.Draft[emitted - 1]);

        // The row of each emitted token but the last was computed as a guess.
        return new Advance(emitted, rows.Count - rows.DraftCount + emitted - 1, end);
    }
}

/// <summary>How far a sequence came in a step.</summary>
/// <param name="Emitted">How many of the drawn tokens count.</param>
/// <param name="Retained">Rows whose keys and values stay.</param>
/// <param name="End">Why the sequence ended, or null.</param>
internal readonly record struct Advance(int Emitted, int Retained, SequenceEnd? End);
