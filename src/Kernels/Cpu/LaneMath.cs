using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>Functions out of lane operations only: the same bits at every vector width.</summary>
internal static class LaneMath<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    private const float Lowest = -87.33654f;
    private const float Highest = 88.37626f;

    // ln 2 in two parts (Cody-Waite): the first has few enough bits for n * part to be exact.
    private const float Ln2High = 0.693359375f;
    private const float Ln2Low = -2.12194440e-4f;

    /// <summary>
    /// e^x within 2 ulp: 2^n times a polynomial of degree 6 on [-ln2/2, ln2/2]. Exactly 1 at 0, 0 below the normal
    /// range, clamped above it; NaN stays NaN.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Exp(TVector x)
    {
        TVector lowest = TLanes.Broadcast(Lowest);
        return InsideExp(TLanes.Smaller(TLanes.Broadcast(Highest), TLanes.Larger(lowest, x)), x, lowest);
    }

    /// <summary><see cref="Exp"/> of x that is not above 0, or NaN: the same bits for less.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector ExpNotAboveZero(TVector x)
    {
        TVector lowest = TLanes.Broadcast(Lowest);
        return InsideExp(TLanes.Larger(lowest, x), x, lowest);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector InsideExp(TVector inside, TVector x, TVector lowest)
    {
        TVector magic = TLanes.Broadcast(12582912f);
        TVector shifted = TLanes.Fma(inside, TLanes.Broadcast(1.44269504f), magic);
        TVector n = TLanes.Subtract(shifted, magic);
        TVector r = TLanes.Fma(n, TLanes.Broadcast(-Ln2High), inside);
        r = TLanes.Fma(n, TLanes.Broadcast(-Ln2Low), r);
        TVector value = TLanes.Multiply(Polynomial(r), TLanes.PowerOfTwo(shifted));
        return TLanes.SelectGreater(lowest, x, default, value);
    }

    /// <summary>x / (1 + e^-x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Silu(TVector x) => TLanes.Divide(x, OnePlusExpOfMinus(x));

    /// <summary>1 / (1 + e^-x).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Sigmoid(TVector x) => TLanes.Divide(TLanes.Broadcast(1f), OnePlusExpOfMinus(x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector OnePlusExpOfMinus(TVector x) =>
        TLanes.Add(TLanes.Broadcast(1f), Exp(TLanes.Subtract(default, x)));

    // Coefficients 1/k! up to the third, the others minimax (Cephes' expf).
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Polynomial(TVector r)
    {
        TVector p = TLanes.Fma(TLanes.Broadcast(1.9875691500e-4f), r, TLanes.Broadcast(1.3981999507e-3f));
        p = TLanes.Fma(p, r, TLanes.Broadcast(8.3334519073e-3f));
        p = TLanes.Fma(p, r, TLanes.Broadcast(4.1665795894e-2f));
        p = TLanes.Fma(p, r, TLanes.Broadcast(1.6666665459e-1f));
        p = TLanes.Fma(p, r, TLanes.Broadcast(5.0000001201e-1f));
        TVector tail = TLanes.Fma(p, TLanes.Multiply(r, r), r);
        return TLanes.Add(tail, TLanes.Broadcast(1f));
    }
}
