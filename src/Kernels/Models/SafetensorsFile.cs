using System.Buffers.Binary;
using System.Globalization;

namespace Cluster.Kernels.Models;

/// <summary>One safetensors file, mapped read-only: 8 bytes of header length, the JSON header, the data.</summary>
internal sealed unsafe class SafetensorsFile : IDisposable
{
    private readonly MappedFile _file;
    private readonly byte* _data;

    private SafetensorsFile(MappedFile file)
    {
        _file = file;
        long header = CheckHeaderLength(BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(file.Start, 8)), file.Length);
        _data = file.Start + 8 + header;
        Entries = SafetensorsHeader.Parse(Name, new ReadOnlySpan<byte>(file.Start + 8, (int)header), file.Length - 8 - header);
    }

    /// <summary>File name without its folder, for messages.</summary>
    public string Name => _file.Name;

    /// <summary>The mapping.</summary>
    public MappedFile Mapping => _file;

    /// <summary>Equal for two mappings of the same contents.</summary>
    public string Identity => _file.Identity;

    /// <summary>The checked header.</summary>
    public IReadOnlyList<TensorEntry> Entries { get; }

    /// <summary>Maps a file and checks its header.</summary>
    /// <exception cref="CheckpointFormatException">The file is missing, unreadable or breaks a rule of the format.</exception>
    public static SafetensorsFile Open(string path)
    {
        MappedFile file = MappedFile.Open(path, minimum: 8);
        try
        {
            return new SafetensorsFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Address of an entry's first byte; valid until <see cref="Dispose"/>.</summary>
    public nint Address(TensorEntry entry) => (nint)(_data + entry.Begin);

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private long CheckHeaderLength(ulong header, long length)
    {
        ulong limit = (ulong)Math.Min(SafetensorsHeader.MaxLength, length - 8);
        return header is >= 2 && header <= limit
            ? (long)header
            : throw new CheckpointFormatException(Name, "header length", $"2..{limit} bytes", header.ToString(CultureInfo.InvariantCulture));
    }
}
