using System.Runtime.InteropServices;
using System.Text;

namespace Cluster.Torch.Tests.DemoModels;

/// <summary>A GGUF file read back, byte by byte from the specification and not from the writer.</summary>
internal sealed class GgufFile
{
    private readonly byte[] _bytes;
    private readonly long _dataStart;
    private int _at;

    public GgufFile(string path)
    {
        _bytes = File.ReadAllBytes(path);
        Assert.Equal("GGUF", Encoding.ASCII.GetString(_bytes, 0, 4));
        _at = 4;
        Assert.Equal(3u, Take<uint>());
        ulong tensors = Take<ulong>(), values = Take<ulong>();
        for (ulong i = 0; i < values; i++)
            Values.Add(Text(), Value(Take<uint>()));
        for (ulong i = 0; i < tensors; i++)
        {
            string name = Text();
            ulong[] shape = [.. Enumerable.Range(0, (int)Take<uint>()).Select(_ => Take<ulong>())];
            Tensors.Add(name, (shape, Take<uint>(), Take<ulong>()));
        }
        _dataStart = (_at + 31) / 32 * 32;
    }

    public Dictionary<string, object> Values { get; } = [];

    /// <summary>Sizes innermost first, ggml type, offset in the data part.</summary>
    public Dictionary<string, (ulong[] Shape, uint Type, ulong Offset)> Tensors { get; } = [];

    /// <summary>The values of a tensor, decoded.</summary>
    public float[] Read(string name)
    {
        (ulong[] shape, uint type, ulong offset) = Tensors[name];
        Assert.Equal(0ul, offset % 32);
        int count = (int)shape.Aggregate(1ul, (product, size) => product * size);
        ReadOnlySpan<byte> data = _bytes.AsSpan((int)(_dataStart + (long)offset));
        var values = new float[count];
        for (int i = 0; i < count; i++)
            values[i] = Element(data, type, i);
        return values;
    }

    private static float Element(ReadOnlySpan<byte> data, uint type, int i) => type switch
    {
        0 => MemoryMarshal.Read<float>(data[(4 * i)..]),
        1 => (float)MemoryMarshal.Read<Half>(data[(2 * i)..]),
        30 => BitConverter.UInt32BitsToSingle((uint)MemoryMarshal.Read<ushort>(data[(2 * i)..]) << 16),
        8 => (float)MemoryMarshal.Read<Half>(data[(i / 32 * 34)..]) * (sbyte)data[i / 32 * 34 + 2 + i % 32],
        2 => (float)MemoryMarshal.Read<Half>(data[(i / 32 * 18)..]) * ((data[i / 32 * 18 + 2 + i % 16] >> (i % 32 / 16 * 4) & 15) - 8),
        _ => throw new InvalidDataException($"ggml type {type}"),
    };

    private object Value(uint type) => type switch
    {
        4 => Take<uint>(),
        5 => Take<int>(),
        6 => Take<float>(),
        7 => Take<byte>() != 0,
        8 => Text(),
        9 => Array(Take<uint>()),
        _ => throw new InvalidDataException($"GGUF value type {type}"),
    };

    private object[] Array(uint type)
    {
        ulong count = Take<ulong>();
        return [.. Enumerable.Range(0, (int)count).Select(_ => Value(type))];
    }

    private string Text()
    {
        int length = (int)Take<ulong>();
        _at += length;
        return Encoding.UTF8.GetString(_bytes, _at - length, length);
    }

    private T Take<T>() where T : unmanaged
    {
        T value = MemoryMarshal.Read<T>(_bytes.AsSpan(_at));
        _at += Marshal.SizeOf<T>();
        return value;
    }
}
