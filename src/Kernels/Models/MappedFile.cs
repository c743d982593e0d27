using System.Globalization;
using System.IO.MemoryMappedFiles;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Kernels.Models;

/// <summary>A file, mapped read-only for as long as this lives.</summary>
internal sealed unsafe class MappedFile : IDisposable
{
    private readonly SafeFileHandle _handle;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    private MappedFile(string path, int minimum)
    {
        var file = new FileInfo(path);
        Name = file.Name;
        Length = file.Length;
        Identity = string.Create(CultureInfo.InvariantCulture, $"{file.FullName}|{Length}|{file.LastWriteTimeUtc.Ticks}");
        if (Length < minimum)
            throw new CheckpointFormatException(Name, "file", $"at least {minimum} bytes", $"{Length} bytes");
        _handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.Read, FileOptions.SequentialScan);
        try
        {
            _file = MemoryMappedFile.CreateFromFile(_handle, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            _view = _file.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
            byte* start = null;
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
            Start = start + _view.PointerOffset;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>File name without its folder, for messages.</summary>
    public string Name { get; }

    /// <summary>Path, size and date: equal for two mappings of the same contents.</summary>
    public string Identity { get; }

    /// <summary>Bytes.</summary>
    public long Length { get; }

    /// <summary>First byte.</summary>
    public byte* Start { get; }

    /// <summary>Maps a file of at least <paramref name="minimum"/> bytes.</summary>
    /// <exception cref="CheckpointFormatException">The file is missing, unreadable or too short.</exception>
    public static MappedFile Open(string path, int minimum)
    {
        try
        {
            return new MappedFile(path, minimum);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointFormatException(Path.GetFileName(path), "file", "a readable file", e.Message, e);
        }
    }

    /// <summary>Copies bytes that are mapped at <paramref name="address"/> without touching the mapping.</summary>
    /// <exception cref="CheckpointFormatException">The file has been cut short.</exception>
    public void Read(nint address, Span<byte> bytes)
    {
        long position = address - (nint)Start;
        for (int done = 0; done < bytes.Length;)
        {
            int count = RandomAccess.Read(_handle, bytes[done..], position + done);
            if (count == 0)
                throw new CheckpointFormatException(Name, "file", $"{Length} bytes, as when it was opened", $"an end at {position + done}");
            done += count;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_view is not null)
        {
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
        }
        _file?.Dispose();
        _handle.Dispose();
    }
}
