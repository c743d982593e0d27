using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

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
