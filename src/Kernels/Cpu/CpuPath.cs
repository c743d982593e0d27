using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

/// <summary>Instruction sets there are kernels for. All of them give the same bits.</summary>
internal enum CpuPath
{
    /// <summary>Scalar, any processor.</summary>
    Portable,

    /// <summary>Arm, 128 bits.</summary>
    AdvSimd,

    /// <summary>x86 with AVX2 and FMA3, 256 bits.</summary>
    Avx2,

    /// <summary>x86 with AVX-512F, 512 bits.</summary>
    Avx512,
}

/// <summary>What this processor can run.</summary>
internal static class CpuPaths
{
    /// <summary>The widest path here.</summary>
    public static CpuPath Best { get; } =
        IsSupported(CpuPath.Avx512) ? CpuPath.Avx512
        : IsSupported(CpuPath.Avx2) ? CpuPath.Avx2
        : IsSupported(CpuPath.AdvSimd) ? CpuPath.AdvSimd
        : CpuPath.Portable;

    /// <summary>Whether this processor, as the runtime sees it, has the instructions.</summary>
    public static bool IsSupported(CpuPath path) => path switch
    {
        CpuPath.Avx512 => Avx512F.IsSupported,
        CpuPath.Avx2 => Avx2.IsSupported && Fma.IsSupported,
        CpuPath.AdvSimd => AdvSimd.Arm64.IsSupported,
        _ => true,
    };
}
