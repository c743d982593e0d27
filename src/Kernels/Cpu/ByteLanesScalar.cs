using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>One output, any processor.</summary>
internal unsafe struct ByteLanesScalar : IByteLanes<float, int>
{
    public static int Width => 1;

    public static bool KeepsOffset => false;

    public static int Broadcast(int value) => value;

    public static int Load(byte* weights) => *(int*)weights;

    public static int LowNibbles(int weights) => weights & 0x0F0F0F0F;

    public static int HighNibbles(int weights) => (weights >>> 4) & 0x0F0F0F0F;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int DotBytes(int sum, int weights, int x) => DotNibbles(sum, weights ^ unchecked((int)0x80808080), x);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int DotNibbles(int sum, int weights, int x) =>
        sum + ((sbyte)weights * (sbyte)x) + ((sbyte)(weights >> 8) * (sbyte)(x >> 8))
        + ((sbyte)(weights >> 16) * (sbyte)(x >> 16)) + ((sbyte)(weights >> 24) * (sbyte)(x >> 24));

    public static float ToFloat(int value) => value;

    public static float Halves(byte* source) => (float)*(Half*)source;
}
