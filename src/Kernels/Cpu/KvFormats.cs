using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// How a KV cache stores 16 lanes (slots of keys, elements of values) times two consecutive k (elements of keys, slots of values):
/// as panels of weights do, or as bytes.
/// </summary>
internal interface IKvFormat : IPanelFormat
{
    /// <summary>Whether every key and value has a factor of its own beside its elements.</summary>
    static abstract bool IsScaled { get; }

    /// <summary>Bytes from lane to lane: all formats but int8 spread lanes over 4.</summary>
    static abstract int LaneBytes { get; }
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
