namespace Cluster.Kernels.Tests.Collectives;

/// <summary>Data of a rank as a pure function, and what the operations are to make of it, computed the obvious way.</summary>
internal static class Values
{
    /// <summary>Floats of many magnitudes: sums in another order differ in their last bits.</summary>
    public static float[] Floats(int rank, int length, int salt = 0)
    {
        var random = new Random((salt * 1009) + rank);
        var values = new float[length];
        for (int i = 0; i < length; i++)
            values[i] = (random.NextSingle() - 0.5f) * MathF.Pow(2, random.Next(-20, 20));
        return values;
    }

    public static byte[] Bytes(int rank, int length, int salt = 0)
    {
        var bytes = new byte[length];
        new Random((salt * 1013) + rank).NextBytes(bytes);
        return bytes;
    }

    /// <summary>The sum of ranks start to start + count - 1: the left part is the largest power of two below the count.</summary>
    public static float[] TreeSum(int size, int length, int salt = 0) => TreeSum([.. Enumerable.Range(0, size).Select(rank => Floats(rank, length, salt))]);

    private static float[] TreeSum(float[][] parts)
    {
        if (parts.Length == 1)
            return parts[0];
        int left = 1;
        while (left * 2 < parts.Length)
            left *= 2;
        float[] a = TreeSum(parts[..left]), b = TreeSum(parts[left..]);
        return [.. a.Select((value, i) => value + b[i])];
    }

    public static void SameBits(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (BitConverter.SingleToInt32Bits(expected[i]) != BitConverter.SingleToInt32Bits(actual[i]))
                Assert.Fail($"Float {i} of {expected.Length} is {actual[i]:R}, should be {expected[i]:R}.");
        }
    }

    /// <summary>Ragged counts, some of them 0, as a pure function.</summary>
    public static int[] Counts(int size, int about, int salt = 0) => [.. Enumerable.Range(0, size).Select(i => (i + salt) % 3 == 2 ? 0 : about + (((i * 7) + salt) % 5))];
}
