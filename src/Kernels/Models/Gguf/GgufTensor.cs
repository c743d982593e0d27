using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models.Gguf;

/// <summary>One tensor of a GGUF file.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Sizes, outermost first (the file lists them innermost first).</param>
/// <param name="Position">First byte, from the start of the file.</param>
/// <param name="Bytes">Bytes.</param>
public sealed record GgufTensor(string Name, DType Type, IReadOnlyList<long> Shape, long Position, long Bytes)
{
    /// <summary>Types that are read, by ggml's numbers.</summary>
    private static readonly Dictionary<uint, DType> Types = new()
    {
        [0] = DType.Float32, [1] = DType.Float16, [30] = DType.BFloat16,
        [2] = DType.Q4_0, [8] = DType.Q8_0, [12] = DType.Q4_K, [14] = DType.Q6_K,
    };

    // Others that files are made of, for messages.
    private static readonly Dictionary<uint, string> OtherTypes = new()
    {
        [3] = "Q4_1", [6] = "Q5_0", [7] = "Q5_1", [9] = "Q8_1", [10] = "Q2_K", [11] = "Q3_K", [13] = "Q5_K", [15] = "Q8_K",
        [16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S", [22] = "IQ2_S", [23] = "IQ4_XS",
        [24] = "I8", [25] = "I16", [26] = "I32", [27] = "I64", [28] = "F64", [29] = "IQ1_M", [34] = "TQ1_0", [35] = "TQ2_0", [39] = "MXFP4",
    };

    /// <summary>The type of a number in the file.</summary>
    /// <exception cref="CheckpointFormatException">It is not read.</exception>
    internal static DType TypeOf(uint number, string file, string tensor) => Types.TryGetValue(number, out DType type)
        ? type
        : throw new CheckpointFormatException(file, $"tensor {tensor}: type", "F32, F16, BF16, Q8_0, Q4_0, Q4_K or Q6_K",
            OtherTypes.TryGetValue(number, out string? name) ? name : $"number {number}");
}
