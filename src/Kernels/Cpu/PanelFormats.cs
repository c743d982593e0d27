using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// How a panel stores 16 outputs times two consecutive k. A panel is one stream of such pairs by ascending k, so vector lanes
/// lie across outputs and nothing is ever summed across lanes.
/// </summary>
internal unsafe interface IPanelFormat
{
    /// <summary>Bytes of 16 outputs times two k.</summary>
    static abstract int PairBytes { get; }

    /// <summary>Weights of the even k for the lanes that start at <paramref name="pair"/>.</summary>
    static abstract TVector Even<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged;

    /// <summary>Weights of the odd k.</summary>
    static abstract TVector Odd<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged;
}

/// <summary>16 floats of the even k, then 16 of the odd.</summary>
internal unsafe struct Float32Panel : IKvFormat
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
internal unsafe struct BFloat16Panel : IKvFormat
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

/// <summary>As <see cref="BFloat16Panel"/>, of finite fp16 values.</summary>
internal unsafe struct Float16Panel : IPanelFormat
{
    public static int PairBytes => 64;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Even<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.LowFloat16(pair);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Odd<TLanes, TVector>(byte* pair)
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged => TLanes.HighFloat16(pair);
}
