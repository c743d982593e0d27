using System.Runtime.InteropServices;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Execution;

/// <summary>Blocks written by hand, and the quantiser against plain loops.</summary>
public sealed unsafe class BlockTests
{
    [Fact]
    public void Q8_0_is_scale_times_signed_byte()
    {
        byte[] block = Scaled(0.5f, 34);
        (block[2], block[3], block[33]) = (127, 0x80, 0xFF);
        float[] values = Read(DType.Q8_0, block, 32);
        Assert.Equal((63.5f, -64f, 0f, -0.5f), (values[0], values[1], values[2], values[31]));
    }

    [Fact]
    public void Q4_0_has_the_first_half_in_the_low_nibbles()
    {
        byte[] block = Scaled(-2, 18);
        Array.Fill(block, (byte)0x88, 2, 16);
        (block[2], block[17]) = (0xF0, 0x3A);
        float[] values = Read(DType.Q4_0, block, 32);
        Assert.Equal((16f, -14f, -4f, 10f), (values[0], values[16], values[15], values[31]));
        Assert.All(values[1..15], value => Assert.Equal(0, value));
    }

    [Fact]
    public void Q4_K_has_six_bit_scales_and_minima()
    {
        byte[] block = Scaled(0.5f, 144);
        MemoryMarshal.Write(block.AsSpan(2), (Half)0.25f);
        Span<byte> scales = block.AsSpan(4, 12);
        scales[1] = 63 | 2 << 6;        // scale of group 1; high bits of group 5's scale
        scales[5] = 9 | 3 << 6;         // minimum of group 1; high bits of group 5's minimum
        scales[9] = 7 | 4 << 4;         // low bits of group 5's scale and minimum
        block[16] = 0xA3;               // group 0 element 0, group 1 element 0
        block[16 + 2 * 32 + 5] = 0xC1;  // group 4 element 5, group 5 element 5
        float[] values = Read(DType.Q4_K, block, 256);
        Assert.Equal(0, values[0]);
        Assert.Equal((0.5f * 63 * 10) - (0.25f * 9), values[32]);
        Assert.Equal(-0.25f * 9, values[33]);
        int scale = 7 | 2 << 4, minimum = 4 | 3 << 4;
        Assert.Equal((0.5f * scale * 12) - (0.25f * minimum), values[5 * 32 + 5]);
    }

    [Fact]
    public void Q6_K_joins_nibbles_and_pairs_of_bits()
    {
        var block = new byte[210];
        MemoryMarshal.Write(block.AsSpan(208), (Half)0.5f);
        for (int i = 0; i < 16; i++)
            block[192 + i] = unchecked((byte)(i - 8));
        block[64 + 32 + 17] = 0xB5;     // second half: low nibble of element 49 (run 1), high nibble of run 3
        block[128 + 32 + 17] = 0b10_00_11_00;   // pairs of runs 0..3 from below: 0, 3, 0, 2
        float[] values = Read(DType.Q6_K, block, 256);
        Assert.Equal(0.5f * (8 + 3 - 8) * ((5 | 3 << 4) - 32), values[128 + 32 + 17]);
        Assert.Equal(0.5f * (8 + 7 - 8) * ((0xB | 2 << 4) - 32), values[128 + 96 + 17]);
        Assert.Equal(0.5f * -8 * -32, values[0]);
    }

    [Theory]
    [InlineData(DType.Q8_0, 32, 34)]
    [InlineData(DType.Q4_0, 32, 18)]
    [InlineData(DType.Q4_K, 256, 144)]
    [InlineData(DType.Q6_K, 256, 210)]
    public void Views_are_cut_between_blocks(DType type, int elements, int bytes)
    {
        Assert.Equal((elements, bytes), (type.BlockElements(), type.BlockBytes()));
        Assert.Contains("blocks", Assert.Throws<ArgumentException>(() => type.ByteSize()).Message);
        var data = new byte[3 * 2 * bytes];
        new Random(1).NextBytes(data);
        for (int block = 0; block < 6; block++)
            MemoryMarshal.Write(data.AsSpan(block * bytes + (type == DType.Q6_K ? 208 : 0)), (Half)(block + 1));
        fixed (byte* start = data)
        {
            var whole = new HostTensor((nint)start, type, 3, 2 * elements, 2 * elements, "w");
            var expected = new float[2 * elements];
            var actual = new float[elements];
            whole.ReadRow(2, expected);
            whole.RowRange(1, 2).ColumnRange(elements, elements).ReadRow(1, actual);
            Assert.Equal(expected[elements..], actual);
            Assert.Contains("between blocks", Assert.Throws<ArgumentException>(() => whole.ColumnRange(elements / 2, elements)).Message);
            Assert.Contains("between blocks", Assert.Throws<ArgumentException>(() => whole.ColumnRange(0, elements - 1)).Message);
        }
    }

    /// <summary>The bits of ggml's reference: absmax / 127, half away from zero.</summary>
    [Fact]
    public void Q8_0_rounds_half_away_from_zero()
    {
        foreach (float[] row in Rows())
        {
            byte[] blocks = Quantize(DType.Q8_0, row);
            for (int group = 0; group < row.Length / 32; group++)
            {
                float[] values = row[(32 * group)..(32 * group + 32)];
                float scale = values.Max(MathF.Abs) / 127, inverse = scale == 0 ? 0 : 1 / scale;
                Assert.Equal((Half)scale, MemoryMarshal.Read<Half>(blocks.AsSpan(34 * group)));
                for (int i = 0; i < 32; i++)
                    Assert.Equal((sbyte)MathF.Round(values[i] * inverse, MidpointRounding.AwayFromZero), (sbyte)blocks[34 * group + 2 + i]);
            }
        }
    }

    /// <summary>Never worse than mapping the extreme to -8, and clearly better on weights as models have them.</summary>
    [Fact]
    public void Q4_0_searches_for_a_scale_of_least_error()
    {
        double ours = 0, plain = 0;
        foreach (float[] row in Rows())
        {
            float[] read = Read(DType.Q4_0, Quantize(DType.Q4_0, row), row.Length);
            for (int group = 0; group < row.Length; group += 32)
            {
                double error = SquaredError(row.AsSpan(group, 32), read.AsSpan(group, 32)), reference = PlainError(row.AsSpan(group, 32));
                Assert.True(error <= reference * (1 + 1e-5), $"group {group}: {error} is more than ggml's {reference}");
                (ours, plain) = (ours + error, plain + reference);
            }
        }
        Assert.True(ours < 0.93 * plain, $"squared error {ours}, ggml's {plain}");
    }

    [Theory]
    [InlineData(DType.Q8_0, float.NaN)]
    [InlineData(DType.Q8_0, float.NegativeInfinity)]
    [InlineData(DType.Q8_0, 1e8f)]
    [InlineData(DType.Q4_0, float.NaN)]
    [InlineData(DType.Q4_0, float.PositiveInfinity)]
    [InlineData(DType.Q4_0, -1e8f)]
    public void What_a_scale_cannot_hold_shows(DType type, float value)
    {
        var row = new float[64];
        row[37] = value;
        float[] read = Read(type, Quantize(type, row), 64);
        Assert.All(read[..32], element => Assert.Equal(0, element));
        Assert.All(read[32..], element => Assert.True(float.IsNaN(element)));
    }

    [Fact]
    public void Tiny_groups_become_zero()
    {
        foreach (DType type in (DType[])[DType.Q8_0, DType.Q4_0])
            Assert.All(Read(type, Quantize(type, [.. Enumerable.Repeat(float.Epsilon, 32)]), 32), value => Assert.Equal(0, value));
    }

    [Fact]
    public void Only_whole_groups_and_known_types()
    {
        Assert.Throws<ArgumentException>(() => BlockQuantizer.Quantize(DType.Q8_0, new float[40], new byte[68]));
        Assert.Throws<ArgumentException>(() => BlockQuantizer.Quantize(DType.Q4_0, new float[64], new byte[35]));
        Assert.Throws<ArgumentException>(() => BlockQuantizer.Quantize(DType.Q4_K, new float[256], new byte[144]));
        Assert.Throws<ArgumentException>(() => BlockReader.Read(DType.Q4_0, new byte[18], new float[31]));
    }

    private static IEnumerable<float[]> Rows()
    {
        var random = new Random(7);
        for (int row = 0; row < 40; row++)
            yield return [.. Enumerable.Range(0, 256).Select(i => i % 32 == 5 ? 0 : MathF.Pow(10, (row % 9) - 4) * Normal(random))];
        yield return [.. Enumerable.Range(0, 32).Select(i => i == 0 ? 127 : i - 15.5f)];     // halves
        yield return new float[32];
    }

    private static float Normal(Random random) =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));

    private static double PlainError(ReadOnlySpan<float> values)
    {
        float extreme = 0;
        foreach (float value in values)
            extreme = MathF.Abs(value) > MathF.Abs(extreme) ? value : extreme;
        float scale = extreme / -8, inverse = scale == 0 ? 0 : 1 / scale;
        var read = new float[32];
        for (int i = 0; i < 32; i++)
            read[i] = (float)(Half)scale * (Math.Min(15, (int)(values[i] * inverse + 8.5f)) - 8);
        return SquaredError(values, read);
    }

    private static double SquaredError(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += Math.Pow((double)a[i] - b[i], 2);
        return sum;
    }

    private static byte[] Quantize(DType type, float[] row)
    {
        var blocks = new byte[type.BytesOf(row.Length)];
        BlockQuantizer.Quantize(type, row, blocks);
        return blocks;
    }

    private static float[] Read(DType type, byte[] blocks, int count)
    {
        var values = new float[count];
        fixed (byte* start = blocks)
            new HostTensor((nint)start, type, 1, count, count, "w").ReadRow(0, values);
        return values;
    }

    private static byte[] Scaled(float scale, int bytes)
    {
        var block = new byte[bytes];
        MemoryMarshal.Write(block, (Half)scale);
        return block;
    }
}
