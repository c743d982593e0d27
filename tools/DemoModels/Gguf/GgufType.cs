using System.Runtime.InteropServices;

namespace Cluster.DemoModels.Gguf;

/// <summary>Tensor types of GGUF that are written here, with ggml's numbers.</summary>
internal enum GgufType
{
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q8_0 = 8,
    BF16 = 30,
}

/// <summary>Encodes fp32 values.</summary>
internal static class GgufEncoding
{
    /// <summary>Values of a quantised block.</summary>
    public const int BlockValues = 32;

    /// <summary>Bytes of <paramref name="count"/> values.</summary>
    public static long ByteSize(GgufType type, long count) => type switch
    {
        GgufType.F32 => count * 4,
        GgufType.F16 or GgufType.BF16 => count * 2,
        GgufType.Q8_0 => count / BlockValues * 34,
        GgufType.Q4_0 => count / BlockValues * 18,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not written here"),
    };

    /// <summary>ggml's general.file_type of a file whose matrices have this type.</summary>
    public static uint FileType(GgufType type) => type switch
    {
        GgufType.F32 => 0,
        GgufType.F16 => 1,
        GgufType.Q4_0 => 2,
        GgufType.Q8_0 => 7,
        GgufType.BF16 => 32,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not written here"),
    };

    public static byte[] Encode(GgufType type, float[] values) => type switch
    {
        GgufType.F32 => MemoryMarshal.AsBytes<float>(values).ToArray(),
        GgufType.F16 => MemoryMarshal.AsBytes<Half>(Array.ConvertAll(values, value => (Half)value)).ToArray(),
        GgufType.BF16 => MemoryMarshal.AsBytes<ushort>(Array.ConvertAll(values, ToBFloat16)).ToArray(),
        GgufType.Q8_0 => Blocks(values, 34, Quantise8),
        GgufType.Q4_0 => Blocks(values, 18, Quantise4),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "not written here"),
    };

    // Nearest, ties to even.
    private static ushort ToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }

    private delegate void BlockWriter(ReadOnlySpan<float> values, Span<byte> block);

    private static byte[] Blocks(float[] values, int bytes, BlockWriter write)
    {
        var encoded = new byte[values.Length / BlockValues * bytes];
        for (int block = 0; block < values.Length / BlockValues; block++)
            write(values.AsSpan(block * BlockValues, BlockValues), encoded.AsSpan(block * bytes, bytes));
        return encoded;
    }

    /// <summary>fp16 scale = absmax / 127, then 32 signed bytes.</summary>
    private static void Quantise8(ReadOnlySpan<float> values, Span<byte> block)
    {
        float largest = 0;
        foreach (float value in values)
            largest = MathF.Max(largest, MathF.Abs(value));
        float scale = largest / 127, inverse = scale == 0 ? 0 : 1 / scale;
        MemoryMarshal.Write(block, (Half)scale);
        for (int i = 0; i < BlockValues; i++)
            block[2 + i] = (byte)(sbyte)MathF.Round(values[i] * inverse, MidpointRounding.AwayFromZero);
    }

    /// <summary>fp16 scale = (value of largest magnitude) / -8, then 4-bit codes 0..15 around 8: the first half low, the second high.</summary>
    private static void Quantise4(ReadOnlySpan<float> values, Span<byte> block)
    {
        float extreme = 0;
        foreach (float value in values)
            extreme = MathF.Abs(value) > MathF.Abs(extreme) ? value : extreme;
        float scale = extreme / -8, inverse = scale == 0 ? 0 : 1 / scale;
        MemoryMarshal.Write(block, (Half)scale);
        for (int i = 0; i < BlockValues / 2; i++)
        {
            int low = Math.Min(15, (int)(values[i] * inverse + 8.5f));
            int high = Math.Min(15, (int)(values[BlockValues / 2 + i] * inverse + 8.5f));
            block[2 + i] = (byte)(low | high << 4);
        }
    }
}
