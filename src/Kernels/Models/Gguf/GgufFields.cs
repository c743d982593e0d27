using System.Globalization;
using System.Runtime.InteropServices;

namespace Cluster.Kernels.Models.Gguf;

/// <summary>
/// The metadata of a GGUF file, read with a type and limits. Arrays are read where the file is mapped, when they are asked for.
/// </summary>
public sealed unsafe class GgufFields
{
    private readonly MappedFile _file;
    private readonly Dictionary<string, GgufValue> _values;

    internal GgufFields(MappedFile file, Dictionary<string, GgufValue> values) => (_file, _values) = (file, values);

    /// <summary>File name, for messages.</summary>
    public string File => _file.Name;

    /// <summary>All keys.</summary>
    public IReadOnlyCollection<string> Keys => _values.Keys;

    /// <summary>Whether the key is there.</summary>
    public bool Has(string key) => _values.ContainsKey(key);

    /// <summary>A string, or null when it is absent.</summary>
    public string? Text(string key)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return null;
        if (value.IsArray || value.Type != GgufValueType.Text)
            throw Error(key, "a string", Kind(value));
        return new GgufCursor(_file, value.Position).Text(key);
    }

    /// <summary>
    /// A whole number in [minimum, maximum]; <paramref name="otherwise"/> when it is absent. Where a file has one number per layer, all
    /// must be the same.
    /// </summary>
    public int Integer(string key, int minimum, int maximum, int? otherwise = null)
    {
        string limit = $"a whole number {minimum}..{maximum}";
        if (!_values.TryGetValue(key, out GgufValue value))
            return otherwise ?? throw Error(key, limit, "missing");
        double? number = value.IsArray ? Uniform(key, value) : Number(value, value.Position);
        return number is { } whole && double.IsInteger(whole) && whole >= minimum && whole <= maximum
            ? (int)whole
            : throw Error(key, limit, number is { } other ? other.ToString(CultureInfo.InvariantCulture) : Kind(value));
    }

    /// <summary>A finite number in (above, maximum]; <paramref name="otherwise"/> when it is absent.</summary>
    public double Number(string key, double above, double maximum, double? otherwise = null)
    {
        string limit = string.Create(CultureInfo.InvariantCulture, $"a number above {above}, at most {maximum}");
        if (!_values.TryGetValue(key, out GgufValue value))
            return otherwise ?? throw Error(key, limit, "missing");
        double? number = value.IsArray ? null : Number(value, value.Position);
        return number is { } found && found > above && found <= maximum
            ? found
            : throw Error(key, limit, number is { } other ? other.ToString(CultureInfo.InvariantCulture) : Kind(value));
    }

    /// <summary>true or false; <paramref name="otherwise"/> when it is absent.</summary>
    public bool Flag(string key, bool otherwise)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return otherwise;
        if (value.IsArray || value.Type != GgufValueType.Bool)
            throw Error(key, "true or false", Kind(value));
        return _file.Start[value.Position] != 0;
    }

    /// <summary>An array of strings, or null when it is absent.</summary>
    public string[]? Texts(string key)
    {
        if (ArrayOf(key, "an array of strings", type => type == GgufValueType.Text) is not { } value)
            return null;
        var cursor = new GgufCursor(_file, value.Position);
        var texts = new string[value.Count];
        for (int i = 0; i < texts.Length; i++)
            texts[i] = cursor.Text(key);
        return texts;
    }

    /// <summary>An array of numbers, or null when it is absent.</summary>
    public float[]? Numbers(string key)
    {
        if (ArrayOf(key, "an array of numbers", type => GgufValue.SizeOf(type) > 0) is not { } value)
            return null;
        var numbers = new float[value.Count];
        int size = GgufValue.SizeOf(value.Type);
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = (float)Number(value, value.Position + ((long)i * size))!.Value;
        return numbers;
    }

    /// <summary>An error about one key.</summary>
    public CheckpointFormatException Error(string key, string limit, string actual) => new(_file.Name, key, limit, actual);

    private GgufValue? ArrayOf(string key, string limit, Func<GgufValueType, bool> fits)
    {
        if (!_values.TryGetValue(key, out GgufValue value))
            return null;
        return value.IsArray && fits(value.Type) && value.Count <= Array.MaxLength ? value : throw Error(key, limit, Kind(value));
    }

    private double? Uniform(string key, GgufValue value)
    {
        int size = GgufValue.SizeOf(value.Type);
        if (size == 0 || value.Count == 0)
            return null;
        double? first = Number(value, value.Position);
        for (long i = 1; i < value.Count; i++)
        {
            double? other = Number(value, value.Position + (i * size));
            if (other != first)
                throw Error(key, "the same for every layer", $"{first} and {other}");
        }
        return first;
    }

    private double? Number(GgufValue value, long position)
    {
        if (GgufValue.SizeOf(value.Type) is 0 || value.Type == GgufValueType.Bool)
            return null;
        var bytes = new ReadOnlySpan<byte>(_file.Start + position, GgufValue.SizeOf(value.Type));
        return value.Type switch
        {
            GgufValueType.UInt8 => bytes[0],
            GgufValueType.Int8 => (sbyte)bytes[0],
            GgufValueType.UInt16 => MemoryMarshal.Read<ushort>(bytes),
            GgufValueType.Int16 => MemoryMarshal.Read<short>(bytes),
            GgufValueType.UInt32 => MemoryMarshal.Read<uint>(bytes),
            GgufValueType.Int32 => MemoryMarshal.Read<int>(bytes),
            GgufValueType.Float32 => MemoryMarshal.Read<float>(bytes),
            GgufValueType.UInt64 => MemoryMarshal.Read<ulong>(bytes),
            GgufValueType.Int64 => MemoryMarshal.Read<long>(bytes),
            _ => MemoryMarshal.Read<double>(bytes),
        };
    }

    private static string Kind(GgufValue value) => value.IsArray ? $"an array of {value.Count} {value.Type}" : $"a value of type {value.Type}";
}
