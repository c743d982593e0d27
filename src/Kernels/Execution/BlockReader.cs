using System.Runtime.InteropServices;

namespace Cluster.Kernels.Execution;

/// <summary>
/// Widens GGML's blocks to single precision: the bitwise meaning of quantised weights. Products are taken in the order of
/// ggml's reference (scale first, then value), so that every value has the bits llama.cpp gives it.
/// </summary>
internal static class BlockReader
{
    /// <summary>Widens whole blocks.</summary>
    /// <param name="type">A block type.</param>
    /// <param name="blocks">Blocks, one after the other.</param>
    /// <param name="values">As many elements as the blocks hold.</param>
    public static void Read(DType type, ReadOnlySpan<byte> blocks, Span<float> values)
    {
        int elements = type.BlockElements(), bytes = type.BlockBytes();
        if (values.Length % elements != 0 || blocks.Length != type.BytesOf(values.Length))
            throw new ArgumentException($"{blocks.Length} bytes of {type} do not hold {values.Length} elements.");
        for (; values.Length > 0; values = values[elements..], blocks = blocks[bytes..])
        {
            switch (type)
            {
                case DType.Q8_0:
                    ReadQ8(blocks, values);
                    break;
                case DType.Q4_0:
                    ReadQ4(blocks, values);
                    break;
                case DType.Q4_K:
                    ReadQ4K(blocks, values);
                    break;
                case DType.Q6_K:
                    ReadQ6K(blocks, values);
                    break;
                default:
                    throw new ArgumentException($"{type} is not stored in blocks.", nameof(type));
            }
        }
    }

    /// <summary>The 6-bit scale and minimum of group <paramref name="group"/> (0..7) of a Q4_K block, from its 12 bytes of them.</summary>
    public static (int Scale, int Minimum) ScaleOfQ4K(ReadOnlySpan<byte> packed, int group) => group < 4
        ? (packed[group] & 63, packed[group + 4] & 63)
        : ((packed[group + 4] & 15) | (packed[group - 4] >> 6 << 4), (packed[group + 4] >> 4) | (packed[group] >> 6 << 4));

    // scale, 32 signed bytes
    private static void ReadQ8(ReadOnlySpan<byte> block, Span<float> values)
    {
        float scale = (float)MemoryMarshal.Read<Half>(block);
        ReadOnlySpan<sbyte> codes = MemoryMarshal.Cast<byte, sbyte>(block.Slice(2, 32));
        for (int i = 0; i < codes.Length; i++)
            values[i] = scale * codes[i];
    }

    // scale, 16 bytes: element i in the low nibble of byte i, element 16 + i in the high one
    private static void ReadQ4(ReadOnlySpan<byte> block, Span<float> values)
    {
        float scale = (float)MemoryMarshal.Read<Half>(block);
        ReadOnlySpan<byte> codes = block.Slice(2, 16);
        for (int i = 0; i < codes.Length; i++)
        {
            values[i] = scale * ((codes[i] & 15) - 8);
            values[16 + i] = scale * ((codes[i] >> 4) - 8);
        }
    }

    // two factors, 12 bytes of scales and minima, 4 runs of 32 bytes: the low nibbles are one group, the high ones the next
    private static void ReadQ4K(ReadOnlySpan<byte> block, Span<float> values)
    {
        float factor = (float)MemoryMarshal.Read<Half>(block), minimumFactor = (float)MemoryMarshal.Read<Half>(block[2..]);
        for (int group = 0; group < 8; group++)
        {
            (int scaleCode, int minimumCode) = ScaleOfQ4K(block.Slice(4, 12), group);
            float scale = factor * scaleCode, minimum = minimumFactor * minimumCode;
            ReadOnlySpan<byte> codes = block.Slice(16 + group / 2 * 32, 32);
            int shift = group % 2 * 4;
            for (int i = 0; i < codes.Length; i++)
                values[32 * group + i] = scale * (codes[i] >> shift & 15) - minimum;
        }
    }

    // 128 bytes of low nibbles, 64 of high pairs of bits, 16 signed scales, factor; half a block is four runs of 32 elements
    private static void ReadQ6K(ReadOnlySpan<byte> block, Span<float> values)
    {
        float factor = (float)MemoryMarshal.Read<Half>(block[208..]);
        ReadOnlySpan<sbyte> scales = MemoryMarshal.Cast<byte, sbyte>(block.Slice(192, 16));
        for (int run = 0; run < 8; run++)
        {
            int half = run / 4, quarter = run % 4;
            ReadOnlySpan<byte> low = block.Slice(64 * half + quarter % 2 * 32, 32), high = block.Slice(128 + 32 * half, 32);
            for (int i = 0; i < 32; i++)
            {
                int code = (low[i] >> quarter / 2 * 4 & 15) | (high[i] >> 2 * quarter & 3) << 4;
                values[32 * run + i] = factor * scales[2 * run + i / 16] * (code - 32);
            }
        }
    }
}
