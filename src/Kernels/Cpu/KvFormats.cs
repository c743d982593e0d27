using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

/// <summary>How a KV cache stores 16 lanes (slots of keys, elements of values) times two consecutive k (elements of keys, slots of values).</summary>
internal unsafe interface IKvFormat
{
    /// <summary>Bytes of 16 lanes times two k.</summary>
    static abstract int PairBytes { get; }

    /// <summary>Whether every key and value has a factor of its own beside its elements.</summary>
    static abstract bool IsScaled { get; }

    /// <summary>Elements of the even k for the lanes that start at <paramref name="pair"/>.</summary>
    static abstract TVector Even<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged;

    /// <summary>Elements of the odd k.</summary>
    static abstract TVector Odd<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged;

    /// <summary>Where lane <paramref name="lane"/> of a pair starts; all formats but int8 spread lanes over 4 bytes.</summary>
    static abstract int LaneBytes { get; }
}

/// <summary>16 floats of the even k, then 16 of the odd.</summary>
internal unsafe struct Float32Kv : IKvFormat
{
    public static int PairBytes => 128;

    public static bool IsScaled => false;

    public static int LaneBytes => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Even<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.Load((float*)pair);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Odd<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.Load((float*)(pair + 64));
}

/// <summary>16 lanes of 32 bits, each the bf16 of the even k below that of the odd k.</summary>
internal unsafe struct BFloat16Kv : IKvFormat
{
    public static int PairBytes => 64;

    public static bool IsScaled => false;

    public static int LaneBytes => 4;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Even<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.LowBFloat16(pair);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Odd<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.HighBFloat16(pair);
}

/// <summary>16 signed bytes of the even k, then 16 of the odd; an element is byte times the factor of its token and head.</summary>
internal unsafe struct Int8Kv : IKvFormat
{
    public static int PairBytes => 32;

    public static bool IsScaled => true;

    public static int LaneBytes => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Even<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.SignedBytes((sbyte*)pair);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Odd<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.SignedBytes((sbyte*)(pair + 16));
}

/// <summary>Hints that bytes will be read soon.</summary>
internal static unsafe class CacheHint
{
    /// <summary>The line of 64 bytes at an address, which need not be readable.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read(byte* line)
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(line);
    }
}

/// <summary>Whether a tile asks for lines ahead; a type, so that the kernel is compiled for both.</summary>
internal interface IKvPrefetch
{
    static abstract bool IsOn { get; }
}

/// <summary>Asks for lines ahead.</summary>
internal struct PrefetchOn : IKvPrefetch
{
    public static bool IsOn => true;
}

/// <summary>Does not.</summary>
internal struct PrefetchOff : IKvPrefetch
{
    public static bool IsOn => false;
}
