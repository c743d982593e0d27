using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>Products with quantised weights, spelled out one value at a time.</summary>
internal static class BlockReference
{
    /// <summary>Rows of valid blocks that depend on the seed only.</summary>
    public static byte[] Blocks(DType type, int rows, int columns, int seed)
    {
        var bytes = new byte[rows * type.BytesOf(columns)];
        var random = new Random(seed);
        random.NextBytes(bytes);
        int size = type.BlockBytes();
        for (int start = 0; start < bytes.Length; start += size)
        {
            int place = type == DType.Q6_K ? start + size - 2 : start;
            BitConverter.TryWriteBytes(bytes.AsSpan(place), (Half)(random.NextSingle() - 0.4f));
            if (type == DType.Q4_K)
                BitConverter.TryWriteBytes(bytes.AsSpan(place + 2), (Half)(random.NextSingle() - 0.4f));
        }
        return bytes;
    }

    /// <summary>Widens rows and quantises them to 8 bits.</summary>
    public static byte[] Requantise(byte[] blocks, DType type, int rows, int columns)
    {
        var result = new byte[rows * DType.Q8_0.BytesOf(columns)];
        int from = (int)type.BytesOf(columns), to = (int)DType.Q8_0.BytesOf(columns);
        var values = new float[columns];
        for (int row = 0; row < rows; row++)
        {
            BlockReader.Read(type, blocks.AsSpan(row * from, from), values);
            BlockQuantizer.Quantize(DType.Q8_0, values, result.AsSpan(row * to, to));
        }
        return result;
    }

    public static float[] Linear(float[] x, int rows, int inputs, DType type, byte[] blocks, int outputs, LinearRole role, float[] bias)
    {
        if (type == DType.Q6_K)
            (blocks, type) = (Requantise(blocks, type, outputs, inputs), DType.Q8_0);
        int groups = inputs / 32, segments = role == LinearRole.RowParallel ? 8 : 1;
        var result = new float[rows * outputs];
        for (int row = 0; row < rows; row++)
        {
            (int[] codes, float[] scales) = Quantise(x.AsSpan(row * inputs, inputs));
            for (int n = 0; n < outputs; n++)
            {
                var sums = new float[segments];
                for (int s = 0; s < segments; s++)
                {
                    for (int g = s * groups / segments; g < (s + 1) * groups / segments; g++)
                        sums[s] = AddGroup(sums[s], type, blocks.AsSpan(n * (int)type.BytesOf(inputs)), g, codes.AsSpan(32 * g, 32), scales[g]);
                }
                float sum = segments == 1 ? sums[0] : ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
                result[(row * outputs) + n] = sum + bias[n];
            }
        }
        return result;
    }

    private static (int[] Codes, float[] Scales) Quantise(ReadOnlySpan<float> row)
    {
        var codes = new int[row.Length];
        var scales = new float[row.Length / 32];
        for (int g = 0; g < scales.Length; g++)
        {
            float most = 0;
            foreach (float value in row.Slice(32 * g, 32))
                most = MathF.Max(most, MathF.Abs(value));
            scales[g] = most / 127;
            for (int i = 32 * g; i < 32 * (g + 1); i++)
                codes[i] = (int)MathF.Round(row[i] * (127 / most));
        }
        return (codes, scales);
    }

    private static float AddGroup(float sum, DType type, ReadOnlySpan<byte> blocks, int group, ReadOnlySpan<int> codes, float xScale)
    {
        int products = 0;
        if (type == DType.Q4_K)
        {
            ReadOnlySpan<byte> block = blocks.Slice(group / 8 * 144, 144);
            (int scaleCode, int minimumCode) = BlockReader.ScaleOfQ4K(block.Slice(4, 12), group % 8);
            var scale = (float)(Half)((float)BitConverter.ToHalf(block) * scaleCode);
            var minimum = (float)(Half)((float)BitConverter.ToHalf(block[2..]) * minimumCode);
            int total = 0;
            for (int i = 0; i < 32; i++)
            {
                products += codes[i] * ((block[16 + (group % 8 / 2 * 32) + i] >> (group % 2 * 4)) & 15);
                total += codes[i];
            }
            return MathF.FusedMultiplyAdd(minimum, -(xScale * total), MathF.FusedMultiplyAdd(products, scale * xScale, sum));
        }
        ReadOnlySpan<byte> simple = blocks.Slice(group * type.BlockBytes(), type.BlockBytes());
        for (int i = 0; i < 32; i++)
        {
            int weight = type == DType.Q8_0 ? (sbyte)simple[2 + i] : ((simple[2 + (i % 16)] >> (i / 16 * 4)) & 15) - 8;
            products += codes[i] * weight;
        }
        return MathF.FusedMultiplyAdd(products, (float)BitConverter.ToHalf(simple) * xScale, sum);
    }
}
