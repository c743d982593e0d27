using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Sampling;

/// <summary>Finds the best n of a row of logits without sorting the row. One object per device thread; its memory is reused.</summary>
internal sealed class TopTokens
{
    /// <summary>Buckets of <see cref="BucketOf"/>.</summary>
    public const int Buckets = 2048;

    private const float BucketsPerUnit = 64;
    private ulong[] _keys = new ulong[256];

    /// <summary>Distance of a logit from the greatest one in steps of 1/64; what is further than 32 shares the last bucket.</summary>
    public static int BucketOf(float logit, float max) => (int)Math.Min((max - logit) * BucketsPerUnit, Buckets - 1);

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

    /// <summary>All logits of one bucket at or above <paramref name="floor"/>, best first. Valid until the next call.</summary>
    public ReadOnlySpan<ulong> InBucket(ReadOnlySpan<float> logits, float max, int bucket, float floor)
    {
        if (_keys.Length < logits.Length)
            _keys = new ulong[logits.Length];
        int kept = 0;
        for (int token = 0; token < logits.Length; token++)
        {
            if (logits[token] >= floor && BucketOf(logits[token], max) == bucket)
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
