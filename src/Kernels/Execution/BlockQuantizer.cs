using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Execution;

/// <summary>
/// Quantises fp32 rows into GGML's blocks of 32 (<see cref="DType.Q8_0"/>, <see cref="DType.Q4_0"/>). The same bits on every
/// instruction set: vectors are always 8 lanes, and their sums are taken in one order. A group with a value that is not
/// finite, or too large for a fp16 scale, gets a scale of NaN: it shows in the logits instead of turning into a wrong number.
/// </summary>
public static class BlockQuantizer
{
    private const int Group = 32;

    /// <summary>Whether rows of this many columns can be stored in a type made here.</summary>
    public static bool Fits(int columns) => columns % Group == 0;

    /// <summary>Weights that are stored together along a row.</summary>
    public static int ElementsOf(WeightQuantization quantization) => quantization == WeightQuantization.None ? 1 : Group;

    /// <summary>Quantises one row; any number of threads may call it.</summary>
    /// <param name="type">Q8_0 or Q4_0.</param>
    /// <param name="row">Whole groups of 32.</param>
    /// <param name="blocks">Room for <c>type.BytesOf(row.Length)</c> bytes.</param>
    public static void Quantize(DType type, ReadOnlySpan<float> row, Span<byte> blocks)
    {
        if (type is not (DType.Q8_0 or DType.Q4_0))
            throw new ArgumentException($"Weights are quantised to Q8_0 or Q4_0, not {type}.", nameof(type));
        if (blocks.Length < type.BytesOf(row.Length))
            throw new ArgumentException($"{row.Length} elements need {type.BytesOf(row.Length)} bytes, there are {blocks.Length}.");
        int bytes = type.BlockBytes();
        for (; row.Length > 0; row = row[Group..], blocks = blocks[bytes..])
        {
            if (type == DType.Q8_0)
                WriteQ8(row, blocks);
            else
                WriteQ4(row, blocks);
        }
    }

    // Scale absmax / 127, codes rounded half away from zero: the bits of ggml's reference.
    private static void WriteQ8(ReadOnlySpan<float> values, Span<byte> block)
    {
        Vector256<float> a = Load(values, 0), b = Load(values, 1), c = Load(values, 2), d = Load(values, 3);
        float scale = AbsoluteMaximum(a, b, c, d) / 127;
        var stored = (Half)scale;
        if (!Half.IsFinite(stored))
        {
            WriteNaN(block);
            return;
        }
        MemoryMarshal.Write(block, stored);
        Vector256<float> inverse = Vector256.Create(scale == 0 ? 0 : 1 / scale);
        Vector256<short> low = Vector256.Narrow(RoundAway(a * inverse), RoundAway(b * inverse));
        Vector256<short> high = Vector256.Narrow(RoundAway(c * inverse), RoundAway(d * inverse));
        Vector256.Narrow(low, high).AsByte().CopyTo(block[2..]);
    }

    private static void WriteQ4(ReadOnlySpan<float> values, Span<byte> block)
    {
        var group = new GroupScale.Group(values);
        float scale = GroupScale.Search(group, out float inverse);
        if (float.IsNaN(scale))
        {
            WriteNaN(block);
            return;
        }
        MemoryMarshal.Write(block, (Half)scale);
        group.Nibbles(inverse).CopyTo(block[2..]);
    }

    private static void WriteNaN(Span<byte> block)
    {
        MemoryMarshal.Write(block, Half.NaN);
        block[2..].Clear();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Load(ReadOnlySpan<float> values, int vector) => Vector256.Create(values.Slice(8 * vector, 8));

    // NaN survives: every comparison with it is false.
    private static float AbsoluteMaximum(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d)
    {
        Vector256<float> most = Vector256.Max(Vector256.Max(Vector256.Abs(a), Vector256.Abs(b)), Vector256.Max(Vector256.Abs(c), Vector256.Abs(d)));
        Vector128<float> half = Vector128.Max(most.GetLower(), most.GetUpper());
        return MathF.Max(MathF.Max(half[0], half[1]), MathF.Max(half[2], half[3]));
    }

    // v - truncate(v) is exact, so adding a half before truncating would differ at 0.49999997.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> RoundAway(Vector256<float> values)
    {
        Vector256<float> whole = Vector256.Truncate(values);
        Vector256<float> up = Vector256.GreaterThanOrEqual(Vector256.Abs(values - whole), Vector256.Create(0.5f));
        Vector256<float> one = Vector256.Create(1f) | (values & Vector256.Create(-0f));
        return Vector256.ConvertToInt32(whole + (one & up));
    }
}
