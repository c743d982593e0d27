using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Cluster.Grains.Scheduling;

/// <summary>
/// Identity of a full block: 128 bits of SHA-256 over the parent's hash, the role mark and the block's tokens. Equal
/// hashes mean equal tokens from position 0 on, so a block may stand for any sequence that begins like it.
/// </summary>
internal readonly record struct BlockHash(ulong High, ulong Low)
{
    private const int HeaderBytes = 20;
    private const int MaxStackBytes = 1024;

    /// <summary>Parent of a first block.</summary>
    public static BlockHash Root(string salt) => Digest(Encoding.UTF8.GetBytes(salt));

    /// <summary>Hash of the block that follows <paramref name="parent"/>.</summary>
    /// <param name="parent">Hash of the block before, or the root.</param>
    /// <param name="tokens">The block's tokens, [blockSize].</param>
    /// <param name="generatedRows">Rows of the block that were computed as generated tokens; 0 where rows have no role.</param>
    public static BlockHash Next(BlockHash parent, ReadOnlySpan<int> tokens, int generatedRows)
    {
        ReadOnlySpan<byte> tokenBytes = MemoryMarshal.AsBytes(tokens);
        int length = HeaderBytes + tokenBytes.Length;
        Span<byte> buffer = length <= MaxStackBytes ? stackalloc byte[MaxStackBytes] : new byte[length];
        BinaryPrimitives.WriteUInt64LittleEndian(buffer, parent.High);
        BinaryPrimitives.WriteUInt64LittleEndian(buffer[8..], parent.Low);
        BinaryPrimitives.WriteInt32LittleEndian(buffer[16..], generatedRows);
        tokenBytes.CopyTo(buffer[HeaderBytes..]);
        return Digest(buffer[..length]);
    }

    private static BlockHash Digest(ReadOnlySpan<byte> bytes)
    {
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(bytes, digest);
        return new BlockHash(BinaryPrimitives.ReadUInt64LittleEndian(digest), BinaryPrimitives.ReadUInt64LittleEndian(digest[8..]));
    }
}
