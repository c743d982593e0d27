using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Sampling;

/// <summary>Passes over a whole row of logits. Sums run in one fixed order, so a row gives the same bits in any batch.</summary>
internal static class LogitMath
{
    private const int Width = 8;

    /// <summary>Index of the greatest logit; of equal ones the lowest.</summary>
    /// <exception cref="NonFiniteLogitException">A logit is NaN or +infinity, or all are -infinity.</exception>
    public static int ArgMax(ReadOnlySpan<float> logits)
    {
        float max = Max(logits);
        int token = logits.IndexOf(max);
        return token >= 0 ? token : throw new InvalidOperationException($"The greatest logit {max} was not found again.");
    }

    /// <summary>Greatest logit.</summary>
    /// <exception cref="NonFiniteLogitException">A logit is NaN or +infinity, or all are -infinity.</exception>
    public static float Max(ReadOnlySpan<float> logits)
    {
        Vector256<float> best = Vector256.Create(float.NegativeInfinity);
        Vector256<float> bad = Vector256<float>.Zero;
        int i = 0;
        for (; i <= logits.Length - Width; i += Width)
        {
            Vector256<float> values = Vector256.Create(logits.Slice(i, Width));
            best = Vector256.MaxNative(best, values);
            bad |= ~Vector256.LessThan(values, Vector256.Create(float.PositiveInfinity));
        }
        float max = float.NegativeInfinity;
        bool finite = !Vector256.EqualsAny(bad.AsInt32(), Vector256.Create(-1));
        for (int lane = 0; lane < Width; lane++)
            max = MathF.Max(max, best[lane]);
        for (; i < logits.Length; i++)
        {
            finite &= logits[i] < float.PositiveInfinity;
            max = MathF.Max(max, logits[i]);
        }
        return finite && max > float.NegativeInfinity ? max : throw NonFinite(logits);
    }

    /// <summary>Log of the sum of exp of all logits, with the greatest known.</summary>
    public static double LogSumExp(ReadOnlySpan<float> logits, float max) => max + Math.Log(SumExp(logits, max, float.NegativeInfinity));

    /// <summary>Sum of exp(logit - max) over the logits at or above <paramref name="floor"/>.</summary>
    public static double SumExp(ReadOnlySpan<float> logits, float max, float floor)
    {
        // In double precision: the single-precision exponential of the runtime gives 1.0000001 for 0, enough to move the
        // border of a top-p set.
        Vector256<double> sum = Vector256<double>.Zero, shift = Vector256.Create((double)max);
        Vector256<double> lowest = Vector256.Create((double)floor);
        int i = 0;
        for (; i <= logits.Length - Width; i += Width)
        {
            (Vector256<double> low, Vector256<double> high) = Vector256.Widen(Vector256.Create(logits.Slice(i, Width)));
            sum += Vector256.Exp(low - shift) & Vector256.GreaterThanOrEqual(low, lowest);
            sum += Vector256.Exp(high - shift) & Vector256.GreaterThanOrEqual(high, lowest);
        }
        double total = Vector256.Sum(sum);
        for (; i < logits.Length; i++)
            total += logits[i] >= floor ? Math.Exp((double)logits[i] - max) : 0;
        return total;
    }

    /// <summary>scaled[i] = logits[i] / temperature.</summary>
    public static void Divide(ReadOnlySpan<float> logits, float temperature, Span<float> scaled)
    {
        int i = 0;
        for (; i <= logits.Length - Width; i += Width)
            (Vector256.Create(logits.Slice(i, Width)) / Vector256.Create(temperature)).CopyTo(scaled[i..]);
        for (; i < logits.Length; i++)
            scaled[i] = logits[i] / temperature;
    }

    /// <summary>How many logits are at or above <paramref name="floor"/>.</summary>
    public static int CountFrom(ReadOnlySpan<float> logits, float floor)
    {
        Vector256<int> counts = Vector256<int>.Zero;
        int i = 0;
        for (; i <= logits.Length - Width; i += Width)
            counts -= Vector256.GreaterThanOrEqual(Vector256.Create(logits.Slice(i, Width)), Vector256.Create(floor)).AsInt32();
        int count = Vector256.Sum(counts);
        for (; i < logits.Length; i++)
            count += logits[i] >= floor ? 1 : 0;
        return count;
    }

    private static NonFiniteLogitException NonFinite(ReadOnlySpan<float> logits)
    {
        for (int token = 0; token < logits.Length; token++)
        {
            if (!(logits[token] < float.PositiveInfinity))
                return new NonFiniteLogitException(token, logits[token]);
        }
        return new NonFiniteLogitException(-1, float.NegativeInfinity);
    }
}
