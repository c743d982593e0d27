using System.Runtime.InteropServices;
using System.Text;

namespace Cluster.Kernels.Models.Gguf;

/// <summary>Reads the head of a GGUF file; every step is checked against the file's end before it is made.</summary>
/// <param name="file">The file.</param>
/// <param name="position">First byte to read.</param>
internal unsafe ref struct GgufCursor(MappedFile file, long position)
{
    /// <summary>Longest key or tensor name, in bytes. The specification allows 65535.</summary>
    private const int MaxNameBytes = ushort.MaxValue;

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Next byte to read, from the start of the file.</summary>
    public long Position { get; private set; } = position;

    public T Read<T>(string field) where T : unmanaged => MemoryMarshal.Read<T>(Take(sizeof(T), field));

    /// <summary>A key or a tensor name.</summary>
    public string Name(string field)
    {
        ulong length = Read<ulong>(field);
        return length is > 0 and <= MaxNameBytes
            ? Text(Take((long)length, field), field)
            : throw new CheckpointFormatException(file.Name, field, $"1..{MaxNameBytes} bytes", $"{length} bytes");
    }

    /// <summary>A string value.</summary>
    public string Text(string field) => Text(TextBytes(field), field);

    /// <summary>The bytes of a string value.</summary>
    public ReadOnlySpan<byte> TextBytes(string field)
    {
        ulong length = Read<ulong>(field);
        return length <= int.MaxValue ? Take((long)length, field) : throw Truncated(field, length);
    }

    /// <summary>Passes over bytes.</summary>
    public void Skip(ulong count, ulong size, string field)
    {
        if (size > 0 && count > (ulong)(file.Length - Position) / size)
            throw Truncated(field, count * size);
        Position += (long)(count * size);
    }

    private ReadOnlySpan<byte> Take(long bytes, string field)
    {
        if (bytes > file.Length - Position)
            throw Truncated(field, (ulong)bytes);
        var taken = new ReadOnlySpan<byte>(file.Start + Position, (int)bytes);
        Position += bytes;
        return taken;
    }

    private readonly CheckpointFormatException Truncated(string field, ulong bytes) =>
        new(file.Name, field, $"within the file's {file.Length} bytes", $"{bytes} bytes from byte {Position} on");

    private readonly string Text(ReadOnlySpan<byte> bytes, string field)
    {
        try
        {
            return Strict.GetString(bytes);
        }
        catch (DecoderFallbackException e)
        {
            throw new CheckpointFormatException(file.Name, field, "valid UTF-8", e.Message, e);
        }
    }
}
