using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models.Gguf;

/// <summary>
/// One GGUF file (versions 2 and 3, little-endian), memory-mapped: metadata, tensor directory, aligned data (ggml-org/ggml, docs/gguf.md).
/// Everything that data is later read by is checked when it is opened.
/// </summary>
public sealed unsafe class GgufFile : IDisposable
{
    private const int MaxDimensions = 4;
    private const int MaxArrayDepth = 4;
    private const int MaxAlignment = 1 << 20;

    private readonly MappedFile _file;
    private readonly long _headBytes;

    private GgufFile(MappedFile file)
    {
        _file = file;
        var cursor = new GgufCursor(file, 0);
        CheckVersion(cursor.Read<uint>("magic"), cursor.Read<uint>("version"));
        ulong tensors = cursor.Read<ulong>("tensor count"), values = cursor.Read<ulong>("metadata count");
        Fields = new GgufFields(file, ReadValues(ref cursor, values));
        CheckSplit();
        int alignment = Fields.Integer("general.alignment", 8, MaxAlignment, 32);
        if (alignment % 8 != 0)
            throw Fields.Error("general.alignment", "a multiple of 8", $"{alignment}");
        var raw = new List<(string Name, DType Type, long[] Shape, ulong Offset)>();
        for (ulong i = 0; i < tensors; i++)
            raw.Add(ReadTensor(ref cursor, i));
        _headBytes = cursor.Position;
        Tensors = Place(raw, alignment);
    }

    /// <summary>File name without its folder, for messages.</summary>
    public string Name => _file.Name;

    /// <summary>The mapping.</summary>
    internal MappedFile Mapping => _file;

    /// <summary>Path, size and date: equal for two mappings of the same contents.</summary>
    public string Identity => _file.Identity;

    /// <summary>Metadata.</summary>
    public GgufFields Fields { get; }

    /// <summary>Tensors by name.</summary>
    public IReadOnlyDictionary<string, GgufTensor> Tensors { get; }

    /// <summary>Metadata and tensor directory as they stand in the file: tells files apart without reading their data.</summary>
    public ReadOnlySpan<byte> Head => new(_file.Start, checked((int)_headBytes));

    /// <summary>Maps a file and checks its head.</summary>
    /// <exception cref="CheckpointFormatException">The file is missing, unreadable or breaks a rule of the format.</exception>
    public static GgufFile Open(string path)
    {
        MappedFile file = MappedFile.Open(path, minimum: 24);
        try
        {
            return new GgufFile(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Address of a tensor's first byte; valid until <see cref="Dispose"/>.</summary>
    internal nint Address(GgufTensor tensor) => (nint)(_file.Start + tensor.Position);

    /// <summary>Bytes from the middle of a tensor.</summary>
    internal ReadOnlySpan<byte> Sample(GgufTensor tensor, int bytes)
    {
        int length = (int)Math.Min(bytes, tensor.Bytes);
        return new ReadOnlySpan<byte>(_file.Start + tensor.Position + ((tensor.Bytes - length) / 2), length);
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private void CheckVersion(uint magic, uint version)
    {
        const uint Magic = 0x46554747;      // "GGUF"
        if (magic != Magic)
            throw new CheckpointFormatException(Name, "magic", "GGUF", $"0x{magic:X8}");
        // The low half of a small big-endian number is zero.
        if ((version & 0xFFFF) == 0 && version != 0)
            throw new CheckpointFormatException(Name, "byte order", "little-endian", $"big-endian (version 0x{version:X8})");
        if (version is not (2 or 3))
            throw new CheckpointFormatException(Name, "version", "2 or 3", $"{version}");
    }

    private void CheckSplit()
    {
        int parts = Fields.Integer("split.count", 0, ushort.MaxValue, 1);
        if (parts > 1)
            throw Fields.Error("split.count", "1 (one file; llama.cpp's gguf-split --merge joins the parts)", $"{parts}");
    }

    private Dictionary<string, GgufValue> ReadValues(ref GgufCursor cursor, ulong count)
    {
        var values = new Dictionary<string, GgufValue>(StringComparer.Ordinal);
        for (ulong i = 0; i < count; i++)
        {
            string key = cursor.Name($"metadata key {i}");
            var type = (GgufValueType)cursor.Read<uint>(key);
            if (!values.TryAdd(key, ReadValue(ref cursor, key, type, depth: 0)))
                throw new CheckpointFormatException(Name, key, "there once", "there twice");
        }
        return values;
    }

    private GgufValue ReadValue(ref GgufCursor cursor, string key, GgufValueType type, int depth)
    {
        if (type == GgufValueType.Array)
            return ReadArray(ref cursor, key, depth);
        var value = new GgufValue(type, cursor.Position, -1);
        SkipElements(ref cursor, key, type, 1, depth);
        return value;
    }

    private GgufValue ReadArray(ref GgufCursor cursor, string key, int depth)
    {
        if (depth >= MaxArrayDepth)
            throw new CheckpointFormatException(Name, key, $"arrays nested at most {MaxArrayDepth} deep", "deeper");
        var type = (GgufValueType)cursor.Read<uint>(key);
        ulong count = cursor.Read<ulong>(key);
        long position = cursor.Position;
        SkipElements(ref cursor, key, type, count, depth);
        return new GgufValue(type, position, (long)count);
    }

    private void SkipElements(ref GgufCursor cursor, string key, GgufValueType type, ulong count, int depth)
    {
        if (GgufValue.SizeOf(type) is > 0 and int size)
        {
            cursor.Skip(count, (ulong)size, key);
            return;
        }
        if (type is not (GgufValueType.Text or GgufValueType.Array))
            throw new CheckpointFormatException(Name, key, "of a type 0..12", $"type {(uint)type}");
        // An element has 8 bytes or more, so a false count ends at the end of the file.
        for (ulong i = 0; i < count; i++)
        {
            if (type == GgufValueType.Text)
                cursor.TextBytes(key);
            else
                ReadArray(ref cursor, key, depth + 1);
        }
    }

    private (string Name, DType Type, long[] Shape, ulong Offset) ReadTensor(ref GgufCursor cursor, ulong index)
    {
        string name = cursor.Name($"tensor {index}: name");
        uint dimensions = cursor.Read<uint>($"tensor {name}: dimensions");
        if (dimensions is 0 or > MaxDimensions)
            throw new CheckpointFormatException(Name, $"tensor {name}: dimensions", $"1..{MaxDimensions}", $"{dimensions}");
        var shape = new long[dimensions];
        for (int i = shape.Length - 1; i >= 0; i--)
        {
            ulong size = cursor.Read<ulong>($"tensor {name}: shape");
            shape[i] = size is > 0 and <= int.MaxValue
                ? (long)size
                : throw new CheckpointFormatException(Name, $"tensor {name}: shape", $"sizes 1..{int.MaxValue}", $"{size}");
        }
        DType type = GgufTensor.TypeOf(cursor.Read<uint>($"tensor {name}: type"), Name, name);
        return (name, type, shape, cursor.Read<ulong>($"tensor {name}: offset"));
    }

    private Dictionary<string, GgufTensor> Place(List<(string Name, DType Type, long[] Shape, ulong Offset)> raw, int alignment)
    {
        long start = (_headBytes + alignment - 1) / alignment * alignment;
        long room = Math.Max(0, _file.Length - start);
        var tensors = new Dictionary<string, GgufTensor>(StringComparer.Ordinal);
        foreach ((string name, DType type, long[] shape, ulong offset) in raw)
        {
            if (shape[^1] % type.BlockElements() != 0)
                throw new CheckpointFormatException(Name, $"tensor {name}: shape", $"rows of whole {type} blocks of {type.BlockElements()} elements", $"{shape[^1]} elements");
            UInt128 bytes = (UInt128)type.BytesOf(shape[^1]);
            foreach (long size in shape[..^1])
                bytes *= (UInt128)size;
            if (offset % (ulong)alignment != 0)
                throw new CheckpointFormatException(Name, $"tensor {name}: offset", $"a multiple of {alignment}", $"{offset}");
            if (bytes > (UInt128)room || offset > (ulong)room - (ulong)bytes)
                throw new CheckpointFormatException(Name, $"tensor {name}: data", $"within the {room} bytes of data that the file has", $"{bytes} bytes from {offset} on");
            if (!tensors.TryAdd(name, new GgufTensor(name, type, shape, start + (long)offset, (long)bytes)))
                throw new CheckpointFormatException(Name, $"tensor {name}", "there once", "there twice");
        }
        CheckOverlaps(tensors.Values);
        return tensors;
    }

    private void CheckOverlaps(IEnumerable<GgufTensor> tensors)
    {
        long end = 0;
        foreach (GgufTensor tensor in tensors.OrderBy(tensor => tensor.Position))
        {
            if (tensor.Position < end)
                throw new CheckpointFormatException(Name, $"tensor {tensor.Name}: offset", "behind the data of the tensor before it", "inside that");
            end = tensor.Position + tensor.Bytes;
        }
    }
}
