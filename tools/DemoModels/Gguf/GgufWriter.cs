using System.Text;

namespace Cluster.DemoModels.Gguf;

/// <summary>
/// A GGUF version 3 file: header, typed key-value pairs, tensor directory, then tensors aligned to 32 bytes (the layout is
/// specified in ggml's docs/gguf.md).
/// </summary>
internal sealed class GgufWriter
{
    private const int Alignment = 32;

    private readonly List<(string Key, uint Type, Action<BinaryWriter> Write)> _values = [];
    private readonly List<(string Name, long[] Shape, GgufType Type, Func<float[]> Values)> _tensors = [];

    public void Add(string key, uint value) => _values.Add((key, 4, writer => writer.Write(value)));

    public void Add(string key, float value) => _values.Add((key, 6, writer => writer.Write(value)));

    public void Add(string key, bool value) => _values.Add((key, 7, writer => writer.Write(value)));

    public void Add(string key, string value) => _values.Add((key, 8, writer => Write(writer, value)));

    public void Add(string key, IReadOnlyList<string> values) => AddArray(key, 8, values.Count, writer =>
    {
        foreach (string value in values)
            Write(writer, value);
    });

    public void Add(string key, IReadOnlyList<int> values) => AddArray(key, 5, values.Count, writer =>
    {
        foreach (int value in values)
            writer.Write(value);
    });

    public void Add(string key, IReadOnlyList<float> values) => AddArray(key, 6, values.Count, writer =>
    {
        foreach (float value in values)
            writer.Write(value);
    });

    /// <param name="name">Name in the file.</param>
    /// <param name="shape">Rows, then columns; or one length. GGUF lists them innermost first.</param>
    /// <param name="type">Stored type.</param>
    /// <param name="values">Makes the values when they are written.</param>
    public void AddTensor(string name, long[] shape, GgufType type, Func<float[]> values)
    {
        if (type is GgufType.Q4_0 or GgufType.Q8_0 && shape[^1] % GgufEncoding.BlockValues != 0)
            throw new ArgumentException($"{name}: rows of {shape[^1]} values are no multiple of {GgufEncoding.BlockValues}, as {type} needs.");
        _tensors.Add((name, shape, type, values));
    }

    /// <summary>Writes the file; it appears at once.</summary>
    public void Write(string path)
    {
        string temporary = path + ".new";
        using (var writer = new BinaryWriter(File.Create(temporary)))
        {
            writer.Write("GGUF"u8);
            writer.Write(3u);
            writer.Write((ulong)_tensors.Count);
            writer.Write((ulong)_values.Count);
            foreach ((string key, uint type, Action<BinaryWriter> write) in _values)
            {
                Write(writer, key);
                writer.Write(type);
                write(writer);
            }
            WriteDirectory(writer);
            foreach ((_, _, GgufType type, Func<float[]> values) in _tensors)
            {
                Pad(writer);
                writer.Write(GgufEncoding.Encode(type, values()));
            }
            Pad(writer);
        }
        File.Move(temporary, path, overwrite: true);
    }

    private void WriteDirectory(BinaryWriter writer)
    {
        long offset = 0;
        foreach ((string name, long[] shape, GgufType type, _) in _tensors)
        {
            Write(writer, name);
            writer.Write((uint)shape.Length);
            foreach (long size in shape.Reverse())
                writer.Write((ulong)size);
            writer.Write((uint)type);
            writer.Write((ulong)offset);
            long bytes = GgufEncoding.ByteSize(type, shape.Aggregate(1L, (product, size) => product * size));
            offset += (bytes + Alignment - 1) / Alignment * Alignment;
        }
    }

    private void AddArray(string key, uint elementType, int count, Action<BinaryWriter> write) => _values.Add((key, 9, writer =>
    {
        writer.Write(elementType);
        writer.Write((ulong)count);
        write(writer);
    }));

    private static void Pad(BinaryWriter writer)
    {
        while (writer.BaseStream.Position % Alignment != 0)
            writer.Write((byte)0);
    }

    private static void Write(BinaryWriter writer, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        writer.Write((ulong)bytes.Length);
        writer.Write(bytes);
    }
}
