using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

/// <summary>8 outputs: AVX-VNNI where the processor has it, else AVX2.</summary>
internal unsafe struct ByteLanes256 : IByteLanes<Vector256<float>, Vector256<int>>
{
    public static int Width => 8;

    public static bool KeepsOffset => AvxVnni.IsSupported;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Broadcast(int value) => Vector256.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Load(byte* weights) => Vector256.Load((int*)weights);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> LowNibbles(Vector256<int> weights) => weights & Vector256.Create(0x0F0F0F0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> HighNibbles(Vector256<int> weights) => (weights >>> 4) & Vector256.Create(0x0F0F0F0F);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> DotBytes(Vector256<int> sum, Vector256<int> weights, Vector256<int> x)
    {
        if (AvxVnni.IsSupported)
            return AvxVnni.MultiplyWideningAndAdd(sum, weights.AsByte(), x.AsSByte());

        // Products of an unsigned and a signed byte add up in pairs of 16 bits with saturation: |w| times x with w's sign stays below.
        Vector256<sbyte> signed = (weights ^ Vector256.Create(unchecked((int)0x80808080))).AsSByte();
        return AddPairs(sum, Avx2.MultiplyAddAdjacent(Avx2.Abs(signed), Avx2.Sign(x.AsSByte(), signed)));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> DotNibbles(Vector256<int> sum, Vector256<int> weights, Vector256<int> x) => AvxVnni.IsSupported
        ? AvxVnni.MultiplyWideningAndAdd(sum, weights.AsByte(), x.AsSByte())
        : AddPairs(sum, Avx2.MultiplyAddAdjacent(weights.AsByte(), x.AsSByte()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> ToFloat(Vector256<int> value) => Vector256.ConvertToSingle(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Halves(byte* source) =>
        Lanes256.WidenHalf(Avx2.ConvertToVector256Int32(Vector128.Load((ushort*)source)) << 16);

    private static Vector256<int> AddPairs(Vector256<int> sum, Vector256<short> pairs) => sum + Avx2.MultiplyAddAdjacent(pairs, Vector256.Create((short)1));
}
