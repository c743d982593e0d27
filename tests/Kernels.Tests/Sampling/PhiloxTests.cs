using Cluster.Kernels.Sampling;

namespace Cluster.Kernels.Tests.Sampling;

public sealed class PhiloxTests
{
    /// <summary>The known-answer vectors of philox4x32 with 10 rounds published with Random123 (kat_vectors).</summary>
    [Theory]
    [InlineData(0x00000000u, 0x00000000u, 0x00000000u, 0x00000000u, 0x00000000u, 0x00000000u, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0xa4093822u, 0x299f31d0u, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Published_vectors(uint c0, uint c1, uint c2, uint c3, uint k0, uint k1, uint w0, uint w1, uint w2, uint w3) =>
        Assert.Equal((w0, w1, w2, w3), Philox.Words(c0, c1, c2, c3, k0 | ((ulong)k1 << 32)));

    [Fact]
    public void Eight_counters_at_once_equal_one_by_one()
    {
        var random = new Random(3);
        Span<uint> words = stackalloc uint[32];
        for (int round = 0; round < 200; round++)
        {
            uint first = (uint)random.NextInt64(0, 1L << 32), c1 = (uint)random.Next(), c2 = (uint)random.Next(), c3 = (uint)random.Next();
            ulong key = (ulong)random.NextInt64() * 3;
            Philox.EightCounters(first, c1, c2, c3, key, words);
            for (uint i = 0; i < 8; i++)
                Assert.Equal((words[(int)i], words[8 + (int)i], words[16 + (int)i], words[24 + (int)i]), Philox.Words(unchecked(first + i), c1, c2, c3, key));
        }
    }

    [Fact]
    public void A_block_of_noise_equals_its_tokens()
    {
        var noise = new GumbelNoise(0xFEDCBA9876543210, 3, 77);
        Span<uint> bits = stackalloc uint[GumbelNoise.BlockTokens];
        for (int block = 0; block < 50; block++)
        {
            noise.FillBlock(block, bits);
            for (int i = 0; i < bits.Length; i++)
                Assert.Equal(noise.Bits(block * GumbelNoise.BlockTokens + i), bits[i]);
        }
    }

    [Fact]
    public void No_two_tokens_positions_or_choices_share_their_word()
    {
        // 60,000 words of 32 bits have about 0.4 collisions by chance; shared counters would give thousands.
        var seen = new HashSet<uint>();
        int collisions = 0;
        for (int choice = 0; choice < 4; choice++)
        {
            for (int position = 0; position < 30; position++)
            {
                var noise = new GumbelNoise(42, choice, position);
                for (int token = 0; token < 500; token++)
                    collisions += seen.Add(noise.Bits(token)) ? 0 : 1;
            }
        }
        Assert.InRange(collisions, 0, 5);
    }

    [Fact]
    public void Noise_is_finite_at_both_ends()
    {
        Assert.Equal(-Math.Log(33 * Math.Log(2)), GumbelNoise.FromBits(0), 1e-12);
        Assert.Equal(33 * Math.Log(2), GumbelNoise.FromBits(uint.MaxValue), 1e-6);
    }
}
