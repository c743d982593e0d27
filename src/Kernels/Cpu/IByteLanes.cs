namespace Cluster.Kernels.Cpu;

/// <summary>
/// Products of bytes, summed in 32-bit integers: exact, so every instruction set gives the same sums. One lane is one
/// output; 4 consecutive k lie in the 4 bytes of a lane.
/// </summary>
internal unsafe interface IByteLanes<TVector, TInt>
    where TVector : unmanaged
    where TInt : unmanaged
{
    /// <summary>Outputs per vector; divides 8.</summary>
    static abstract int Width { get; }

    /// <summary>Whether <see cref="DotBytes"/> takes weights as the bytes they are stored as, 128 too large.</summary>
    static abstract bool KeepsOffset { get; }

    static abstract TInt Broadcast(int value);

    /// <summary>4 weights per lane.</summary>
    static abstract TInt Load(byte* weights);

    /// <summary>The lower nibble of each byte.</summary>
    static abstract TInt LowNibbles(TInt weights);

    /// <summary>The upper nibble of each byte.</summary>
    static abstract TInt HighNibbles(TInt weights);

    /// <summary>sum + Σ w x per lane, w stored 128 too large (subtracted here unless <see cref="KeepsOffset"/>), x signed.</summary>
    static abstract TInt DotBytes(TInt sum, TInt weights, TInt x);

    /// <summary>sum + Σ w x per lane, w in 0..15, x signed.</summary>
    static abstract TInt DotNibbles(TInt sum, TInt weights, TInt x);

    static abstract TVector ToFloat(TInt value);

    /// <summary>Finite fp16 values, one per lane, widened.</summary>
    static abstract TVector Halves(byte* source);
}
