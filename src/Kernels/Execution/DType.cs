using System.Diagnostics.CodeAnalysis;

namespace Cluster.Kernels.Execution;

/// <summary>Element type of a tensor in a checkpoint or on a device.</summary>
[SuppressMessage("Naming", "CA1707:Identifiers should not contain underscores", Justification = "GGML's block types go by these names wherever they are read about.")]
public enum DType
{
    /// <summary>IEEE 754 single precision.</summary>
    Float32,

    /// <summary>bfloat16: the upper half of a single.</summary>
    BFloat16,

    /// <summary>IEEE 754 half precision.</summary>
    Float16,

    /// <summary>Signed 32-bit integer.</summary>
    Int32,

    /// <summary>GGML: blocks of 32 signed bytes with one fp16 scale.</summary>
    Q8_0,

    /// <summary>GGML: blocks of 32 nibbles around 8 with one fp16 scale.</summary>
    Q4_0,

    /// <summary>GGML: blocks of 256 nibbles; 8 groups of 32 with 6-bit scales and minima, two fp16 factors over them.</summary>
    Q4_K,

    /// <summary>GGML: blocks of 256 6-bit values around 32; 16 groups of 16 with 8-bit scales, one fp16 factor over them.</summary>
    Q6_K,

    /// <summary>Signed 8-bit integer.</summary>
    Int8,
}

/// <summary>Sizes of <see cref="DType"/> values.</summary>
public static class DTypeExtensions
{
    /// <summary>Bytes of one element.</summary>
    /// <exception cref="ArgumentException">Elements of a block type have no size of their own.</exception>
    public static int ByteSize(this DType type) => type switch
    {
        DType.Float32 or DType.Int32 => 4,
        DType.BFloat16 or DType.Float16 => 2,
        DType.Int8 => 1,
        _ => throw new ArgumentException($"{type} is stored in blocks of {type.BlockElements()} elements in {type.BlockBytes()} bytes: one element has no size.", nameof(type)),
    };

    /// <summary>Elements that are stored together: 1, or those of a block.</summary>
    public static int BlockElements(this DType type) => type switch
    {
        DType.Q8_0 or DType.Q4_0 => 32,
        DType.Q4_K or DType.Q6_K => 256,
        _ => 1,
    };

    /// <summary>Bytes of <see cref="BlockElements"/> elements.</summary>
    public static int BlockBytes(this DType type) => type switch
    {
        DType.Q8_0 => 34,
        DType.Q4_0 => 18,
        DType.Q4_K => 144,
        DType.Q6_K => 210,
        _ => type.ByteSize(),
    };

    /// <summary>Whether elements are stored in blocks with common scales.</summary>
    public static bool IsQuantized(this DType type) => type.BlockElements() > 1;

    /// <summary>Bytes of a run of elements, whole blocks of them.</summary>
    /// <exception cref="ArgumentException">The run ends inside a block.</exception>
    public static long BytesOf(this DType type, long elements) => elements % type.BlockElements() == 0
        ? elements / type.BlockElements() * type.BlockBytes()
        : throw new ArgumentException($"{type} is stored in blocks of {type.BlockElements()} elements, {elements} are not whole blocks.", nameof(elements));
}
