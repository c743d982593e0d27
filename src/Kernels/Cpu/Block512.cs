using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

/// <summary>Where things lie in a panel, for tiles with a vector of 512 bits per panel.</summary>
internal static unsafe class Block512
{
    /// <summary>From a panel's start to a group's codes.</summary>
    public static long Codes<TFormat>(int group)
        where TFormat : struct, IBlockFormat =>
        ((long)(group >> 1) * RecordBytes<TFormat>()) + TFormat.HeadBytes + ((group & 1) * GroupBytes<TFormat>());

    /// <summary>From a group's codes to those of the next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long Step<TFormat>(int group)
        where TFormat : struct, IBlockFormat => GroupBytes<TFormat>() + ((group & 1) * (long)TFormat.HeadBytes);

    /// <summary>From a group's codes back to its scales.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static long BackToScales<TFormat>(int group)
        where TFormat : struct, IBlockFormat => TFormat.HeadBytes + ((group & 1) * (GroupBytes<TFormat>() - (2L * BlockView.Width)));

    /// <summary>16 finite fp16 values, widened.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Halves(byte* source) =>
        Lanes512.WidenHalf(Avx512F.ConvertToVector512Int32(Vector256.Load((ushort*)source)).AsInt32() << 16);

    /// <summary>First sum of a vector; of the last one beyond it.</summary>
    public static float* SumLane(in BlockTileJob tile, int vector) => tile.Sums + (Math.Min(vector, tile.Vectors - 1) * BlockView.Width);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long GroupBytes<TFormat>()
        where TFormat : struct, IBlockFormat => 4L * BlockView.Width * TFormat.Vectors;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static long RecordBytes<TFormat>()
        where TFormat : struct, IBlockFormat => TFormat.HeadBytes + (2 * GroupBytes<TFormat>());
}
