using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>One lane: works on every processor, and finishes what does not fill a vector.</summary>
internal unsafe struct LanesScalar : ILanes<float>
{
    public static int Width => 1;

    public static bool HasManyRegisters => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Load(float* source) => *source;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, float value) => *target = value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Broadcast(float value) => value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Fma(float left, float right, float addend) => MathF.FusedMultiplyAdd(left, right, addend);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Add(float left, float right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Subtract(float left, float right) => left - right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Multiply(float left, float right) => left * right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Divide(float left, float right) => left / right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float SelectGreater(float left, float right, float whenTrue, float whenFalse) => left > right ? whenTrue : whenFalse;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Larger(float left, float right) => left > right ? left : right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Smaller(float left, float right) => left < right ? left : right;

    public static float Sum16(float* lanes)
    {
        float* sums = stackalloc float[16];
        Buffer.MemoryCopy(lanes, sums, 64, 64);
        for (int half = 8; half > 0; half /= 2)
        {
            for (int i = 0; i < half; i++)
                sums[i] += sums[i + half];
        }

        return sums[0];
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Largest(float value) => value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float PowerOfTwo(float shifted) => BitConverter.Int32BitsToSingle((BitConverter.SingleToInt32Bits(shifted) + 127) << 23);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float LowBFloat16(byte* source) => BitConverter.UInt32BitsToSingle(*(uint*)source << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float HighBFloat16(byte* source) => BitConverter.UInt32BitsToSingle(*(uint*)source & 0xFFFF0000);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float SignedBytes(sbyte* source) => *source;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float LowFloat16(byte* source) => WidenHalf(*(int*)source << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float HighFloat16(byte* source) => WidenHalf(*(int*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float WidenHalf(int upper) =>
        BitConverter.UInt32BitsToSingle((uint)(upper >> 3) & HalfBits.SignAndMagnitude) * HalfBits.BiasCorrection;
}
