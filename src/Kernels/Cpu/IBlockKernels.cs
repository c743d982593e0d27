using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Cluster.Kernels.Cpu;

/// <summary>Linears over quantised weights, by format.</summary>
internal unsafe interface IBlockKernels
{
    /// <summary>Runs equally shaped jobs of one format over the pool.</summary>
    static abstract void Linear(CpuThreadPool pool, LinearJob* jobs, int count, NativeBlock scratch, Scratch rows);
}

/// <summary>With one vector type for all formats.</summary>
internal readonly unsafe struct BlockKernels<TLanes, TVector, TBytes, TInt> : IBlockKernels
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TBytes : struct, IByteLanes<TVector, TInt>
    where TInt : unmanaged
{
    public static void Linear(CpuThreadPool pool, LinearJob* jobs, int count, NativeBlock scratch, Scratch rows)
    {
        switch (jobs->Blocks.Kind)
        {
            case BlockKind.Int8:
                BlockLinear<TLanes, TVector, BlockTile<TLanes, TVector, TBytes, TInt, Int8Blocks>>.Run(pool, jobs, count, scratch, rows);
                break;
            case BlockKind.Int4:
                BlockLinear<TLanes, TVector, BlockTile<TLanes, TVector, TBytes, TInt, Int4Blocks>>.Run(pool, jobs, count, scratch, rows);
                break;
            default:
                BlockLinear<TLanes, TVector, BlockTile<TLanes, TVector, TBytes, TInt, Int4MinimumBlocks>>.Run(pool, jobs, count, scratch, rows);
                break;
        }
    }
}

/// <summary>AVX-512: tiles of 512 bits where the processor has all that they need, else those of AVX2.</summary>
internal readonly unsafe struct BlockKernels512 : IBlockKernels
{
    public static void Linear(CpuThreadPool pool, LinearJob* jobs, int count, NativeBlock scratch, Scratch rows)
    {
        if (jobs->Blocks.Kind == BlockKind.Int8 && Int8Tile512.IsSupported)
            BlockLinear<Lanes512, Vector512<float>, Int8Tile512>.Run(pool, jobs, count, scratch, rows);
        else if (jobs->Blocks.Kind == BlockKind.Int4 && Avx512BW.IsSupported)
            BlockLinear<Lanes512, Vector512<float>, Int4Tile512<Int4Blocks>>.Run(pool, jobs, count, scratch, rows);
        else if (jobs->Blocks.Kind == BlockKind.Int4Minimum && Avx512BW.IsSupported)
            BlockLinear<Lanes512, Vector512<float>, Int4Tile512<Int4MinimumBlocks>>.Run(pool, jobs, count, scratch, rows);
        else
            BlockKernels<Lanes256, Vector256<float>, ByteLanes256, Vector256<int>>.Linear(pool, jobs, count, scratch, rows);
    }
}
