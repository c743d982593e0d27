using Cluster.Grains.Replicas;
using Cluster.Grains.Scheduling;

namespace Cluster.Grains.Decoding;

/// <summary>
/// How a sequence advances when every step draws one token from its last row: the rows of the step stay, and the token is
/// known from then on. Ends are decided here, inside the step's commit.
/// </summary>
internal static class PlainDecoding
{
    /// <summary>What of the drawn tokens counts, and whether the sequence ends with them.</summary>
    /// <param name="rows">The sequence's part of the step.</param>
    /// <param name="drawn">Tokens drawn by the step: one when a token was sampled, none after a chunk.</param>
    /// <param name="stopTokens">Tokens that end the sequence; such a token still counts.</param>
    public static Advance After(in ScheduledRows rows, ReadOnlySpan<int> drawn, ReadOnlySpan<int> stopTokens)
    {
        if (drawn.Length != (rows.Sample ? 1 : 0))
            throw new InvalidOperationException($"Sequence {rows.Sequence.Id} drew {drawn.Length} tokens, sample is {rows.Sample}.");
        int length = rows.Sequence.Length + drawn.Length;
        SequenceEnd? end = null;
        if (drawn.Length == 1 && stopTokens.Contains(drawn[0]))
            end = SequenceEnd.StopToken;
        else if (length >= rows.Sequence.MaxLength && rows.ComputedTokens + rows.Count >= rows.Sequence.Length)
            end = SequenceEnd.Length;
        return new Advance(drawn.Length, rows.Count, end);
    }
}

/// <summary>How far a sequence came in a step.</summary>
/// <param name="Emitted">How many of the drawn tokens count.</param>
/// <param name="Retained">Rows whose keys and values stay.</param>
/// <param name="End">Why the sequence ended, or null.</param>
internal readonly record struct Advance(int Emitted, int Retained, SequenceEnd? End);
