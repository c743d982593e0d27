namespace Cluster.Kernels.Cpu;

/// <summary>
/// The few vector operations all CPU kernels are written in. Every one is an IEEE operation per lane, correctly rounded, so
/// that kernels whose lanes are independent give the same bits at every width: 16, 8, 4 or 1 floats.
/// </summary>
internal unsafe interface ILanes<TVector>
    where TVector : unmanaged
{
    /// <summary>Floats per vector; divides 16.</summary>
    static abstract int Width { get; }

    /// <summary>Whether 32 vector registers are there, so that 24 accumulators fit.</summary>
    static abstract bool HasManyRegisters { get; }

    static abstract TVector Load(float* source);

    static abstract void Store(float* target, TVector value);

    static abstract TVector Broadcast(float value);

    /// <summary>left * right + addend with one rounding.</summary>
    static abstract TVector Fma(TVector left, TVector right, TVector addend);

    static abstract TVector Add(TVector left, TVector right);

    static abstract TVector Subtract(TVector left, TVector right);

    static abstract TVector Multiply(TVector left, TVector right);

    static abstract TVector Divide(TVector left, TVector right);

    /// <summary>left > right ? whenTrue : whenFalse; false where either is NaN.</summary>
    static abstract TVector SelectGreater(TVector left, TVector right, TVector whenTrue, TVector whenFalse);

    /// <summary>left > right ? left : right.</summary>
    static abstract TVector Larger(TVector left, TVector right);

    /// <summary>left &lt; right ? left : right.</summary>
    static abstract TVector Smaller(TVector left, TVector right);

    /// <summary>Sum of 16 lanes as a binary tree: lane i with i + 8, then + 4, + 2, + 1.</summary>
    static abstract float Sum16(float* lanes);

    /// <summary>The largest lane.</summary>
    static abstract float Largest(TVector value);

    /// <summary>2^n for lanes that hold 1.5 * 2^23 + n, -126 &lt;= n &lt;= 127.</summary>
    static abstract TVector PowerOfTwo(TVector shifted);

    /// <summary>The lower bf16 of each 32-bit lane, widened.</summary>
    static abstract TVector LowBFloat16(byte* source);

    /// <summary>The upper bf16 of each 32-bit lane, widened.</summary>
    static abstract TVector HighBFloat16(byte* source);

    /// <summary>As many signed bytes as lanes, widened.</summary>
    static abstract TVector SignedBytes(sbyte* source);

    /// <summary>The lower fp16 of each 32-bit lane, widened; finite values only.</summary>
    static abstract TVector LowFloat16(byte* source);

    /// <summary>The upper fp16 of each 32-bit lane, widened; finite values only.</summary>
    static abstract TVector HighFloat16(byte* source);
}

/// <summary>Constants of the fp16 widening: move sign, exponent and mantissa in place, then correct the exponent bias by 2^112.</summary>
internal static class HalfBits
{
    public const uint SignAndMagnitude = 0x8FFFE000;
    public const float BiasCorrection = 5.192296858534828e33f;
}
