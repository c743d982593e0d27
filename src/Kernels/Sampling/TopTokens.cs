using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Sampling;

/// <summary>Finds the best n of a row of logits without sorting the row. One object per device thread; its memory is reused.</summary>
internal sealed class TopTokens
{
    private const int FewRanks = 256;
    private ulong[] _keys = new ulong[256];

    /// <summary>Finds where a share of the probability is reached.</summary>
    public MassBracket Bracket { get; } = new();

    /// <summary>
    /// The best <paramref name="count"/> finite logits at or above <paramref name="floor"/>, best first, as
    /// <see cref="TokenKey"/>s; fewer if there are not as many. Valid until the next call.
    /// </summary>
    public ReadOnlySpan<ulong> Best(ReadOnlySpan<float> logits, int count, float floor = float.MinValue)
    {
        count = Math.Min(count, logits.Length);
        if (count <= 0)
            return [];
        // Twice the room: a full buffer is sorted and its worse half dropped, so a token costs O(log count) at worst.
        int room = (int)Math.Max(256L, Math.Min(2L * count, logits.Length));
        if (_keys.Length < room)
            _keys = new ulong[room];
        int kept = 0;
        int vectorEnd = logits.Length - logits.Length % Vector256<float>.Count;
        for (int start = 0; start < vectorEnd; start += Vector256<float>.Count)
        {
            Vector256<float> values = Vector256.Create(logits.Slice(start, Vector256<float>.Count));
            uint mask = Vector256.GreaterThanOrEqual(values, Vector256.Create(floor)).ExtractMostSignificantBits();
            for (; mask != 0; mask &= mask - 1)
            {
                int token = start + System.Numerics.BitOperations.TrailingZeroCount(mask);
                Add(logits[token], token, count, room, ref kept, ref floor);
            }
        }
        for (int token = vectorEnd; token < logits.Length; token++)
        {
            if (logits[token] >= floor)
                Add(logits[token], token, count, room, ref kept, ref floor);
        }
        return Shrink(kept, count);
    }

    /// <summary>
    /// The logit of rank <paramref name="rank"/> (1 = the greatest) among the finite ones at or above <paramref name="floor"/>; null if there
    /// are not as many. Of many ranks, counting narrows the range first, and only what is left in it is sorted.
    /// </summary>
    public float? LogitOfRank(ReadOnlySpan<float> logits, float max, int rank, float floor)
    {
        const float Depth = 64;
        float low = MathF.Max(floor, max - Depth), high = max;
        int inside = rank > FewRanks ? LogitMath.CountFrom(logits, low) : 0, above = 0;
        if (inside < rank)
        {
            ReadOnlySpan<ulong> best = Best(logits, rank, floor);
            return best.Length == rank ? TokenKey.Logit(best[^1]) : null;
        }
        // (high, max] holds above tokens, [low, high] the others.
        while (inside - above > FewRanks)
        {
            float middle = low + ((high - low) / 2);
            if (middle <= low || middle >= high)
                break;
            int count = LogitMath.CountFrom(logits, MathF.BitIncrement(middle));
            if (count < rank)
                (high, above) = (middle, count);
            else
                (low, inside) = (MathF.BitIncrement(middle), count);
        }
        return TokenKey.Logit(Between(logits, MathF.BitDecrement(low), high, floor)[rank - above - 1]);
    }

    /// <summary>All logits in (low, high] at or above <paramref name="floor"/>, best first. Valid until the next call.</summary>
    public ReadOnlySpan<ulong> Between(ReadOnlySpan<float> logits, float low, float high, float floor)
    {
        if (_keys.Length < logits.Length)
            _keys = new ulong[logits.Length];
        int kept = 0;
        int vectorEnd = logits.Length - (logits.Length % Vector256<float>.Count);
        Vector256<float> lower = Vector256.Create(low), upper = Vector256.Create(high), lowest = Vector256.Create(floor);
        for (int start = 0; start < vectorEnd; start += Vector256<float>.Count)
        {
            Vector256<float> values = Vector256.Create(logits.Slice(start, Vector256<float>.Count));
            uint mask = (Vector256.GreaterThan(values, lower) & Vector256.LessThanOrEqual(values, upper) & Vector256.GreaterThanOrEqual(values, lowest)).ExtractMostSignificantBits();
            for (; mask != 0; mask &= mask - 1)
            {
                int token = start + System.Numerics.BitOperations.TrailingZeroCount(mask);
                _keys[kept++] = TokenKey.Of(logits[token], token);
            }
        }
        for (int token = vectorEnd; token < logits.Length; token++)
        {
            if (logits[token] > low && logits[token] <= high && logits[token] >= floor)
                _keys[kept++] = TokenKey.Of(logits[token], token);
        }
        return Shrink(kept, kept);
    }

    private void Add(float logit, int token, int count, int room, ref int kept, ref float floor)
    {
        _keys[kept++] = TokenKey.Of(logit, token);
        if (kept < room)
            return;
        kept = Shrink(kept, count).Length;
        // Ids rise: of equal logits the earlier one is better, so from now on only a greater one is a gain.
        if (kept == count)
            floor = MathF.BitIncrement(TokenKey.Logit(_keys[kept - 1]));
    }

    private ReadOnlySpan<ulong> Shrink(int kept, int count)
    {
        Span<ulong> keys = _keys.AsSpan(0, kept);
        keys.Sort();
        keys.Reverse();
        return keys[..Math.Min(kept, count)];
    }
}
