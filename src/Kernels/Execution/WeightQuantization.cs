namespace Cluster.Kernels.Execution;

/// <summary>How the linear weights of a floating-point checkpoint are quantised when they are loaded.</summary>
public enum WeightQuantization
{
    /// <summary>Not at all: they keep the checkpoint's type, or the one asked for.</summary>
    None,

    /// <summary>8 bits in groups of 32 (<see cref="DType.Q8_0"/>).</summary>
    Int8,

    /// <summary>4 bits in groups of 32 (<see cref="DType.Q4_0"/>); the LM head in 8 bits.</summary>
    Int4,
}
