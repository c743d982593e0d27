using System.Buffers.Binary;
using System.Security.Cryptography;
using Microsoft.Extensions.Options;

namespace Cluster.Grains.Sessions;

/// <summary>
/// Seeds for requests that bring none: from the operating system, or, with <c>--seed</c>, a sequence that is the same
/// in every run. At most 53 bits, so that JSON readers with doubles keep them exactly.
/// </summary>
internal sealed class SeedSource(IOptions<ClusterOptions> options)
{
    private const long Mask = (1L << 53) - 1;

    private long _drawn;

    /// <summary>The next seed, 0 to 2^53 - 1.</summary>
    public long Next()
    {
        if (options.Value.Seed is { } seed)
            return (long)Mix(unchecked((ulong)seed + (0x9E3779B97F4A7C15 * (ulong)Interlocked.Increment(ref _drawn)))) & Mask;
        Span<byte> bytes = stackalloc byte[8];
        RandomNumberGenerator.Fill(bytes);
        return BinaryPrimitives.ReadInt64LittleEndian(bytes) & Mask;
    }

    // SplitMix64's finalizer: neighbouring inputs give unrelated seeds.
    private static ulong Mix(ulong value)
    {
        value = unchecked((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9);
        value = unchecked((value ^ (value >> 27)) * 0x94D049BB133111EB);
        return value ^ (value >> 31);
    }
}
