namespace Cluster.Kernels.Execution;

/// <summary>Element type of a tensor in a checkpoint or on a device.</summary>
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
}

/// <summary>Sizes of <see cref="DType"/> values.</summary>
public static class DTypeExtensions
{
    /// <summary>Bytes of one element.</summary>
    public static int ByteSize(this DType type) => type is DType.Float32 or DType.Int32 ? 4 : 2;
}
