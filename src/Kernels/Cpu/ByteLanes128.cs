using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Cluster.Kernels.Cpu;

/// <summary>4 outputs: Arm, with the dot product instructions where the processor has them.</summary>
internal unsafe struct ByteLanes128 : IByteLanes<Vector128<float>, Vector128<int>>
{
    public static int Width => 4;

    public static bool KeepsOffset => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Broadcast(int value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> Load(byte* weights) => Vector128.Load((int*)weights);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> LowNibbles(Vector128<int> weights) => weights & Vector128.Create(0x0F0F0F0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> HighNibbles(Vector128<int> weights) => (weights >>> 4) & Vector128.Create(0x0F0F0F0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> DotBytes(Vector128<int> sum, Vector128<int> weights, Vector128<int> x) =>
        DotNibbles(sum, weights ^ Vector128.Create(unchecked((int)0x80808080)), x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<int> DotNibbles(Vector128<int> sum, Vector128<int> weights, Vector128<int> x)
    {
        if (Dp.IsSupported)
            return Dp.DotProduct(sum, weights.AsSByte(), x.AsSByte());
        (Vector128<short> weightsLow, Vector128<short> weightsHigh) = Vector128.Widen(weights.AsSByte());
        (Vector128<short> xLow, Vector128<short> xHigh) = Vector128.Widen(x.AsSByte());
        return sum + Vector128.Create(PairSums(weightsLow * xLow), PairSums(weightsHigh * xHigh));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> ToFloat(Vector128<int> value) => Vector128.ConvertToSingle(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Halves(byte* source) =>
        Lanes128.WidenHalf(Vector128.WidenLower(Vector128.CreateScalar(*(ulong*)source).AsUInt16()).AsInt32() << 16);

    // Sums of 4 neighbours, the products of one lane.
    private static Vector64<int> PairSums(Vector128<short> products)
    {
        (Vector128<int> low, Vector128<int> high) = Vector128.Widen(products);
        return Vector64.Create(Vector128.Sum(low), Vector128.Sum(high));
    }
}
