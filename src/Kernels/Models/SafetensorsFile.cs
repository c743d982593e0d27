using System.Buffers.Binary;
using System.Globalization;
using System.IO.MemoryMappedFiles;

namespace Cluster.Kernels.Models;

/// <summary>One safetensors file, mapped read-only: 8 bytes of header length, the JSON header, the data.</summary>
internal sealed unsafe class SafetensorsFile : IDisposable
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _data;

    private SafetensorsFile(string path)
    {
        Name = Path.GetFileName(path);
        long length = new FileInfo(path).Length;
        if (length < 8)
            throw new CheckpointFormatException(Name, "file", "at least 8 bytes", $"{length} bytes");
        _file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 0, MemoryMappedFileAccess.Read);
        try
        {
            _view = _file.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            byte* start = null;
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            start += _view.PointerOffset;
            long header = CheckHeaderLength(BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(start, 8)), length);
            _data = start + 8 + header;
            Entries = SafetensorsHeader.Parse(Name, new ReadOnlySpan<byte>(start + 8, (int)header), length - 8 - header);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>File name without its folder, for messages.</summary>
    public string Name { get; }

    /// <summary>The checked header.</summary>
    public IReadOnlyList<TensorEntry> Entries { get; }

    /// <summary>Maps a file and checks its header.</summary>
    /// <exception cref="CheckpointFormatException">The file is missing, unreadable or breaks a rule of the format.</exception>
    public static SafetensorsFile Open(string path)
    {
        try
        {
            return new SafetensorsFile(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointFormatException(Path.GetFileName(path), "file", "a readable file", e.Message, e);
        }
    }

    /// <summary>Address of an entry's first byte; valid until <see cref="Dispose"/>.</summary>
    public nint Address(TensorEntry entry) => (nint)(_data + entry.Begin);

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_view is not null)
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
        }
        _file.Dispose();
    }

    private long CheckHeaderLength(ulong header, long length)
    {
        ulong limit = (ulong)Math.Min(SafetensorsHeader.MaxLength, length - 8);
        return header is >= 2 && header <= limit
            ? (long)header
            : throw new CheckpointFormatException(Name, "header length", $"2..{limit} bytes", header.ToString(CultureInfo.InvariantCulture));
    }
}
