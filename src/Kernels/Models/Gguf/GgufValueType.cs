namespace Cluster.Kernels.Models.Gguf;

/// <summary>Types of metadata values, with the file format's numbers.</summary>
internal enum GgufValueType : uint
{
    UInt8 = 0,
    Int8 = 1,
    UInt16 = 2,
    Int16 = 3,
    UInt32 = 4,
    Int32 = 5,
    Float32 = 6,
    Bool = 7,
    Text = 8,
    Array = 9,
    UInt64 = 10,
    Int64 = 11,
    Float64 = 12,
}

/// <summary>Where a value lies.</summary>
/// <param name="Type">Its type; of an array, that of its elements.</param>
/// <param name="Position">First byte, from the start of the file.</param>
/// <param name="Count">Elements of an array; -1 for a single value.</param>
internal readonly record struct GgufValue(GgufValueType Type, long Position, long Count)
{
    public bool IsArray => Count >= 0;

    /// <summary>Bytes of a number; 0 for types without a size of their own.</summary>
    public static int SizeOf(GgufValueType type) => type switch
    {
        GgufValueType.UInt8 or GgufValueType.Int8 or GgufValueType.Bool => 1,
        GgufValueType.UInt16 or GgufValueType.Int16 => 2,
        GgufValueType.UInt32 or GgufValueType.Int32 or GgufValueType.Float32 => 4,
        GgufValueType.UInt64 or GgufValueType.Int64 or GgufValueType.Float64 => 8,
        _ => 0,
    };
}
