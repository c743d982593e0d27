using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Tests.Cpu;

/// <summary>What a KV cache makes of a key or value.</summary>
internal static class KvRounding
{
    /// <summary>The elements of one head as they are read back.</summary>
    public static double[] Of(ReadOnlySpan<float> elements, DType type)
    {
        var stored = new double[elements.Length];
        float greatest = 0;
        foreach (float element in elements)
            greatest = MathF.Max(greatest, MathF.Abs(element));
        for (int d = 0; d < stored.Length; d++)
            stored[d] = type == DType.Int8 ? (double)(greatest / 127) * MathF.Round(elements[d] * (127 / greatest)) : CpuBench.Rounded(elements[d], type);
        return stored;
    }
}
