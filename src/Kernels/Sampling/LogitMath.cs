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
    public static double SumExp(ReadOnlySpan<float> logits, float max, float floor) => SumExp(logits, max, floor, float.PositiveInfinity, out _);

    /// <summary>As above; <paramref name="upper"/> is the part of those at or above <paramref name="border"/>, which is not below the floor.</summary>
    public static double SumExp(ReadOnlySpan<float> logits, float max, float floor, float border, out double upper)
    {
        // In double precision: the single-precision exponential of the runtime gives 1.0000001 for 0, enough to move the
        // border of a top-p set. Eight lanes, as two halves of four where vectors are shorter: the same sums on every processor.
        Span<double> lanes = stackalloc double[2 * Width];
        int end = logits.Length - (logits.Length % Width);
        if (Vector512.IsHardwareAccelerated)
            SumExp512(logits[..end], max, floor, border, lanes);
        else
            SumExp256(logits[..end], max, floor, border, lanes);
        double total = Fold(lanes[..Width]);
        upper = Fold(lanes[Width..]);
        for (int i = end; i < logits.Length; i++)
        {
            double weight = Math.Exp((double)logits[i] - max);
            total += logits[i] >= floor ? weight : 0;
            upper += logits[i] >= border ? weight : 0;
        }
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

    private static void SumExp512(ReadOnlySpan<float> logits, float max, float floor, float border, Span<double> lanes)
    {
        Vector512<double> total = Vector512<double>.Zero, upper = total, shift = Vector512.Create((double)max);
        Vector512<double> lowest = Vector512.Create((double)floor), least = Vector512.Create((double)border);
        for (int i = 0; i < logits.Length; i += Width)
        {
            (Vector256<double> low, Vector256<double> high) = Vector256.Widen(Vector256.Create(logits.Slice(i, Width)));
            Vector512<double> values = Vector512.Create(low, high), weights = Vector512.Exp(values - shift);
            total += weights & Vector512.GreaterThanOrEqual(values, lowest);
            upper += weights & Vector512.GreaterThanOrEqual(values, least);
        }
        total.CopyTo(lanes);
        upper.CopyTo(lanes[Width..]);
    }

    private static void SumExp256(ReadOnlySpan<float> logits, float max, float floor, float border, Span<double> lanes)
    {
        Vector256<double> totalLow = Vector256<double>.Zero, totalHigh = totalLow, upperLow = totalLow, upperHigh = totalLow;
        Vector256<double> shift = Vector256.Create((double)max), lowest = Vector256.Create((double)floor), least = Vector256.Create((double)border);
        for (int i = 0; i < logits.Length; i += Width)
        {
            (Vector256<double> low, Vector256<double> high) = Vector256.Widen(Vector256.Create(logits.Slice(i, Width)));
            Vector256<double> weightsLow = Vector256.Exp(low - shift), weightsHigh = Vector256.Exp(high - shift);
            totalLow += weightsLow & Vector256.GreaterThanOrEqual(low, lowest);
            totalHigh += weightsHigh & Vector256.GreaterThanOrEqual(high, lowest);
            upperLow += weightsLow & Vector256.GreaterThanOrEqual(low, least);
            upperHigh += weightsHigh & Vector256.GreaterThanOrEqual(high, least);
        }
        totalLow.CopyTo(lanes);
        totalHigh.CopyTo(lanes[4..]);
        upperLow.CopyTo(lanes[8..]);
        upperHigh.CopyTo(lanes[12..]);
    }

    private static double Fold(ReadOnlySpan<double> lanes) =>
        ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));

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
