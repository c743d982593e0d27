using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Cluster.Kernels.Cpu;

/// <summary>4 lanes: Arm AdvSimd.</summary>
internal unsafe struct Lanes128 : ILanes<Vector128<float>>
{
    public static int Width => 4;

    public static bool HasManyRegisters => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Load(float* source) => Vector128.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(float* target, Vector128<float> value) => Vector128.Store(value, target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Broadcast(float value) => Vector128.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Fma(Vector128<float> left, Vector128<float> right, Vector128<float> addend) => AdvSimd.FusedMultiplyAdd(addend, left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Add(Vector128<float> left, Vector128<float> right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Subtract(Vector128<float> left, Vector128<float> right) => left - right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Multiply(Vector128<float> left, Vector128<float> right) => left * right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Divide(Vector128<float> left, Vector128<float> right) => left / right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> SelectGreater(Vector128<float> left, Vector128<float> right, Vector128<float> whenTrue, Vector128<float> whenFalse) => 
        Vector128.ConditionalSelect(Vector128.GreaterThan(left, right), whenTrue, whenFalse);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Larger(Vector128<float> left, Vector128<float> right) => SelectGreater(left, right, left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> Smaller(Vector128<float> left, Vector128<float> right) => SelectGreater(right, left, left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum16(float* lanes) => Sum4(
        (Vector128.Load(lanes) + Vector128.Load(lanes + 8)) + (Vector128.Load(lanes + 4) + Vector128.Load(lanes + 12)));

    /// <summary>The last two levels of the tree.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum4(Vector128<float> value)
    {
        Vector128<float> pairs = value + Vector128.Shuffle(value, Vector128.Create(2, 3, 0, 1));
        return pairs.ToScalar() + pairs.GetElement(1);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Largest(Vector128<float> value)
    {
        Vector128<float> two = Larger(value, Vector128.Shuffle(value, Vector128.Create(2, 3, 0, 1)));
        return Larger(two, Vector128.Shuffle(two, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> PowerOfTwo(Vector128<float> shifted) => 
        ((shifted.AsInt32() + Vector128.Create(127)) << 23).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LowBFloat16(byte* source) => (Vector128.Load((uint*)source) << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> HighBFloat16(byte* source) => (Vector128.Load((uint*)source) & Vector128.Create(0xFFFF0000)).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> SignedBytes(sbyte* source)
    {
        Vector128<short> words = Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(int*)source).AsSByte());
        return Vector128.ConvertToSingle(Vector128.WidenLower(words));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> LowFloat16(byte* source) => WidenHalf(Vector128.Load((int*)source) << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<float> HighFloat16(byte* source) => WidenHalf(Vector128.Load((int*)source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<float> WidenHalf(Vector128<int> upper) =>
        ((upper >> 3).AsUInt32() & Vector128.Create(HalfBits.SignAndMagnitude)).AsSingle() * Vector128.Create(HalfBits.BiasCorrection);
}
