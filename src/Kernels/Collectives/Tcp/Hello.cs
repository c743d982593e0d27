using System.Buffers.Binary;
using System.Text;

namespace Cluster.Kernels.Collectives;

/// <summary>First message on a connection: who wants to talk to whom, and over which of the pair's connections.</summary>
internal sealed record Hello(string Group, long Epoch, int From, int To, int Size, int Connection, int Connections, ReadOnlyMemory<byte> Nonce)
{
    /// <summary>Bytes of a nonce.</summary>
    public const int NonceBytes = 32;

    /// <summary>Longest group name in UTF-8.</summary>
    public const int MaxNameBytes = 200;

    private const int FixedBytes = 8 + 8 + (5 * 4) + NonceBytes;
    private static readonly byte[] Mark = "CLUSTRG1"u8.ToArray();

    /// <summary>The message: length, then the rest. It is also what both sides prove to have seen.</summary>
    public byte[] ToBytes()
    {
        byte[] name = Encoding.UTF8.GetBytes(Group);
        var bytes = new byte[4 + FixedBytes + name.Length];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, bytes.Length - 4);
        Span<byte> rest = bytes.AsSpan(4);
        Mark.CopyTo(rest);
        BinaryPrimitives.WriteInt64LittleEndian(rest[8..], Epoch);
        int[] numbers = [From, To, Size, Connection, Connections];
        for (int i = 0; i < numbers.Length; i++)
            BinaryPrimitives.WriteInt32LittleEndian(rest[(16 + (4 * i))..], numbers[i]);
        Nonce.Span.CopyTo(rest[36..]);
        name.CopyTo(rest[FixedBytes..]);
        return bytes;
    }

    /// <summary>Reads the message; null when it is something else.</summary>
    public static (Hello Hello, byte[] Bytes)? Read(Stream stream)
    {
        var length = new byte[4];
        stream.ReadExactly(length);
        int count = BinaryPrimitives.ReadInt32LittleEndian(length);
        if (count is < FixedBytes or > FixedBytes + MaxNameBytes)
            return null;
        var bytes = new byte[4 + count];
        length.CopyTo(bytes, 0);
        stream.ReadExactly(bytes.AsSpan(4));
        byte[] rest = bytes[4..];
        if (!rest.AsSpan(0, 8).SequenceEqual(Mark))
            return null;
        int Number(int index) => BinaryPrimitives.ReadInt32LittleEndian(rest.AsSpan(16 + (4 * index)));
        var hello = new Hello(
            Encoding.UTF8.GetString(rest.AsSpan(FixedBytes)), BinaryPrimitives.ReadInt64LittleEndian(rest.AsSpan(8)),
            Number(0), Number(1), Number(2), Number(3), Number(4), rest.AsMemory(36, NonceBytes));
        return (hello, bytes);
    }
}
