using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Cluster.Kernels.Cpu;

namespace Cluster.Kernels.Sampling;

/// <summary>
/// Brackets the logit at which the most likely tokens reach a share of the probability: single-precision weights once, then
/// a narrowing of the threshold, each step one pass of compares and additions. Only the logits inside the bracket need
/// an exact order. One object per device thread; its memory is reused.
/// </summary>
internal sealed unsafe class MassBracket
{
    /// <summary>Bound of the relative error of the sums: weights are good to 2 ulp and summed in double precision.</summary>
    public const double Error = 5e-7;

    private const int MaxSteps = 40;

    // e^-Depth of a vocabulary of millions is nothing.
    private const float Depth = 40;

    private float[] _weights = [];

    /// <summary>Weighs all logits at or above the floor by e^(logit - max); returns the sum.</summary>
    public double Weigh(ReadOnlySpan<float> logits, float max, float floor)
    {
        if (_weights.Length < logits.Length)
            _weights = new float[logits.Length];
        fixed (float* x = logits, w = _weights)
        {
            if (Vector512.IsHardwareAccelerated)
                MassKernel<Lanes512, Vector512<float>>.Weigh(x, w, logits.Length, max, floor);
            else if (CpuPaths.Best == CpuPath.Avx2)
                MassKernel<Lanes256, Vector256<float>>.Weigh(x, w, logits.Length, max, floor);
            else if (CpuPaths.Best == CpuPath.AdvSimd)
                MassKernel<Lanes128, Vector128<float>>.Weigh(x, w, logits.Length, max, floor);
            else
                MassKernel<LanesScalar, float>.Weigh(x, w, logits.Length, max, floor);
        }
        return Above(logits, float.NegativeInfinity, float.NegativeInfinity).First;
    }

    /// <summary>
    /// Logits (Low, High] that hold the border of the last weighed row, and the weight above High: tokens above High weigh less than
    /// <paramref name="wanted"/>, tokens above Low more. Not many more than <paramref name="enough"/> of them where that can be had.
    /// </summary>
    public (float Low, float High, double Above) Find(ReadOnlySpan<float> logits, float max, float floor, double total, double wanted, int enough)
    {
        float low = MathF.BitDecrement(Math.Max(floor, max - Depth)), high = max;
        double above = 0, inside = total;
        for (int step = 0; step < MaxSteps && inside * Math.Exp((double)max - low) > enough; step++)
        {
            (float first, float second) = inside > total / 2 ? Halves(low, high) : Around(low, high, (wanted - above) / inside);
            if (first <= low || second >= high)
                break;
            (double firstMass, double secondMass) = Above(logits, first, second);
            if (secondMass > wanted)
                (low, inside) = (second, secondMass - above);
            else if (firstMass > wanted)
                (low, high, above, inside) = (first, second, secondMass, firstMass - secondMass);
            else
                (high, above, inside) = (first, firstMass, inside + above - firstMass);
        }
        return (low, high, above);
    }

    private static (float First, float Second) Halves(float low, float high)
    {
        float third = (high - low) / 3;
        return (low + third, high - third);
    }

    /// <summary>Both sides of where the border is if the weight is spread evenly.</summary>
    private static (float First, float Second) Around(float low, float high, double share)
    {
        float range = high - low, guess = high - (float)(share * range), margin = range / 16;
        guess = Math.Clamp(guess, low + (2 * margin), high - (2 * margin));
        return (guess - margin, guess + margin);
    }

    private (double First, double Second) Above(ReadOnlySpan<float> logits, float first, float second)
    {
        Vector512<double> firstSum = default, secondSum = default;
        ReadOnlySpan<float> weights = _weights.AsSpan(0, logits.Length);
        int i = 0;
        if (Vector512.IsHardwareAccelerated)
        {
            Vector512<float> lower = Vector512.Create(first), upper = Vector512.Create(second);
            for (; i <= logits.Length - 16; i += 16)
            {
                Vector512<float> x = Vector512.Create(logits.Slice(i, 16)), w = Vector512.Create(weights.Slice(i, 16));
                Vector512<float> a = w & Vector512.GreaterThan(x, lower), b = w & Vector512.GreaterThan(x, upper);
                firstSum += Vector512.WidenLower(a) + Vector512.WidenUpper(a);
                secondSum += Vector512.WidenLower(b) + Vector512.WidenUpper(b);
            }
        }
        else
        {
            Vector256<double> firstHalf = default, secondHalf = default;
            Vector256<float> lower = Vector256.Create(first), upper = Vector256.Create(second);
            for (; i <= logits.Length - 8; i += 8)
            {
                Vector256<float> x = Vector256.Create(logits.Slice(i, 8)), w = Vector256.Create(weights.Slice(i, 8));
                Vector256<float> a = w & Vector256.GreaterThan(x, lower), b = w & Vector256.GreaterThan(x, upper);
                firstHalf += Vector256.WidenLower(a) + Vector256.WidenUpper(a);
                secondHalf += Vector256.WidenLower(b) + Vector256.WidenUpper(b);
            }
            (firstSum, secondSum) = (Vector512.Create(firstHalf, Vector256<double>.Zero), Vector512.Create(secondHalf, Vector256<double>.Zero));
        }
        double firstTotal = Vector512.Sum(firstSum), secondTotal = Vector512.Sum(secondSum);
        for (; i < logits.Length; i++)
        {
            firstTotal += logits[i] > first ? weights[i] : 0;
            secondTotal += logits[i] > second ? weights[i] : 0;
        }
        return (firstTotal, secondTotal);
    }
}

/// <summary>The exponentials of <see cref="MassBracket"/>.</summary>
internal static unsafe class MassKernel<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    /// <summary>w = e^(x - max), 0 below the floor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Weigh(float* x, float* w, int count, float max, float floor)
    {
        TVector shift = TLanes.Broadcast(max), lowest = TLanes.Broadcast(floor);
        int i = 0;
        for (; i + TLanes.Width <= count; i += TLanes.Width)
        {
            TVector logit = TLanes.Load(x + i);
            TLanes.Store(w + i, TLanes.SelectGreater(lowest, logit, default, LaneMath<TLanes, TVector>.Exp(TLanes.Subtract(logit, shift))));
        }
        for (; i < count; i++)
            w[i] = floor > x[i] ? 0 : LaneMath<LanesScalar, float>.Exp(x[i] - max);
    }
}
