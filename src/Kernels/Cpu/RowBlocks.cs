using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Input rows quantised to 8 bits in groups of 32: value = scale * code, scale = absmax / 127, codes rounded to the nearest
/// (ties to even). A group with a value that is not finite has scale NaN. What a row gives depends on that row alone.
/// </summary>
internal unsafe struct RowBlocks
{
    private const int Group = BlockView.Group;

    // Below this a group counts as zero: the reciprocal of its scale would overflow.
    private const float Smallest = 1e-30f;

    private sbyte* _codes;
    private int* _sums;
    private float* _scales;
    private int _groups;

    /// <summary>Rows of K inputs at a place with <see cref="BytesFor"/> bytes.</summary>
    public RowBlocks(byte* start, int rows, int inputs)
    {
        _groups = inputs / Group;
        _codes = (sbyte*)start;
        _sums = (int*)(start + ((long)rows * inputs));
        _scales = (float*)(_sums + ((long)rows * _groups));
    }

    public static long BytesFor(int rows, int inputs) => (long)rows * (inputs + (8 * (inputs / Group)));

    /// <summary>The rows from <paramref name="row"/> on.</summary>
    public readonly RowBlocks From(int row)
    {
        RowBlocks rest = this;
        rest._codes += (long)row * _groups * Group;
        rest._sums += (long)row * _groups;
        rest._scales += (long)row * _groups;
        return rest;
    }

    /// <summary>Codes of a group, 4 to an integer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly int* CodeRow(int row, int group) => (int*)(_codes + ((((long)row * _groups) + group) * Group));

    /// <summary>Sums of codes per group.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly int* SumRow(int row) => _sums + ((long)row * _groups);

    /// <summary>Scales per group.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly float* ScaleRow(int row) => _scales + ((long)row * _groups);

    /// <summary>Quantises one row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public readonly void Fill(int row, float* values)
    {
        for (int group = 0; group < _groups; group++, values += Group)
            FillGroup(values, (sbyte*)CodeRow(row, group), out SumRow(row)[group], out ScaleRow(row)[group]);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FillGroup(float* values, sbyte* codes, out int sum, out float scale)
    {
        Vector256<float> a = Vector256.Load(values), b = Vector256.Load(values + 8), c = Vector256.Load(values + 16), d = Vector256.Load(values + 24);
        float most = Largest(a, b, c, d);
        (scale, float factor) = (most / 127, 127 / most);
        if (!(most >= Smallest && float.IsFinite(most)))
        {
            (scale, factor) = (float.IsFinite(most) ? 0 : float.NaN, 0);
            a = b = c = d = default;
        }

        Vector256<float> inverse = Vector256.Create(factor);
        Vector256<int> a4 = Round(a * inverse), b4 = Round(b * inverse), c4 = Round(c * inverse), d4 = Round(d * inverse);
        sum = Vector256.Sum((a4 + b4) + (c4 + d4));
        Vector256.Narrow(Vector256.Narrow(a4, b4), Vector256.Narrow(c4, d4)).Store(codes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Round(Vector256<float> values) => Vector256.ConvertToInt32(Vector256.Round(values));

    // As integers, so that NaN counts as the largest.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Largest(Vector256<float> a, Vector256<float> b, Vector256<float> c, Vector256<float> d)
    {
        Vector256<int> mask = Vector256.Create(int.MaxValue);
        Vector256<int> most = Vector256.Max(
            Vector256.Max(a.AsInt32() & mask, b.AsInt32() & mask),
            Vector256.Max(c.AsInt32() & mask, d.AsInt32() & mask));
        Vector128<int> half = Vector128.Max(most.GetLower(), most.GetUpper());
        int largest = Math.Max(Math.Max(half[0], half[1]), Math.Max(half[2], half[3]));
        return BitConverter.Int32BitsToSingle(largest);
    }
}
