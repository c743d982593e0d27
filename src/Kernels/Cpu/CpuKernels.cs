using System.Runtime.Intrinsics;

namespace Cluster.Kernels.Cpu;

/// <summary>The kernels of one instruction set.</summary>
internal abstract unsafe class CpuKernels
{
    /// <summary>The kernels of a path.</summary>
    /// <exception cref="PlatformNotSupportedException">This processor lacks the instructions.</exception>
    public static CpuKernels For(CpuPath path)
    {
        if (!CpuPaths.IsSupported(path))
            throw new PlatformNotSupportedException($"This processor has no {path} instructions.");
        return path switch
        {
            CpuPath.Avx512 => new CpuKernels<Lanes512, Vector512<float>, BlockKernels512>(),
            CpuPath.Avx2 => new CpuKernels<Lanes256, Vector256<float>, BlockKernels<Lanes256, Vector256<float>, ByteLanes256, Vector256<int>>>(),
            CpuPath.AdvSimd => new CpuKernels<Lanes128, Vector128<float>, BlockKernels<Lanes128, Vector128<float>, ByteLanes128, Vector128<int>>>(),
            _ => new CpuKernels<LanesScalar, float, BlockKernels<LanesScalar, float, ByteLanesScalar, int>>(),
        };
    }

    /// <summary>
    /// Equally shaped linears of one kind; <paramref name="scratch"/> has <see cref="LinearRegion.ScratchBytes"/> per thread, <paramref name="rows"/> takes
    /// quantised input rows.
    /// </summary>
    public abstract void Linear(CpuThreadPool pool, LinearJob* jobs, int count, NativeBlock scratch, Scratch rows);

    public abstract void Norm(CpuThreadPool pool, RowJob job);

    public abstract void GatedSilu(CpuThreadPool pool, RowJob job);

    public abstract void AddGated(CpuThreadPool pool, RowJob job);

    /// <summary>y += x + other (if there is one).</summary>
    public abstract void AddRows(CpuThreadPool pool, RowJob job);

    /// <summary>y += factor * x.</summary>
    public abstract void AddScaled(float* y, float* x, float factor, int width);

    public abstract void Rotate(CpuThreadPool pool, AttentionJob job);

    public abstract void StoreKv(CpuThreadPool pool, AttentionJob job);

    /// <summary>The tasks of the job's cut; <paramref name="work"/> in multiply-adds.</summary>
    public abstract void Attention(CpuThreadPool pool, AttentionJob job, long work);

    /// <summary>Scratch of attention per thread for tiles of up to so many rows.</summary>
    public abstract long AttentionScratchBytes(in AttentionJob job, int rowsPerTile);
}

/// <summary>The kernels for one vector type, and those for quantised weights.</summary>
internal sealed unsafe class CpuKernels<TLanes, TVector, TBlocks> : CpuKernels
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TBlocks : struct, IBlockKernels
{
    public override void Linear(CpuThreadPool pool, LinearJob* jobs, int count, NativeBlock scratch, Scratch rows)
    {
        if (count == 0 || jobs->Blocks.Kind == BlockKind.None)
            PanelLinear<TLanes, TVector>.Run(pool, jobs, count, scratch);
        else
            TBlocks.Linear(pool, jobs, count, scratch, rows);
    }

    public override void Norm(CpuThreadPool pool, RowJob job) => RowKernels<TLanes, TVector>.Norm(pool, job);

    public override void GatedSilu(CpuThreadPool pool, RowJob job) => RowKernels<TLanes, TVector>.GatedSilu(pool, job);

    public override void AddGated(CpuThreadPool pool, RowJob job) => RowKernels<TLanes, TVector>.AddGated(pool, job);

    public override void AddRows(CpuThreadPool pool, RowJob job) => RowKernels<TLanes, TVector>.AddRows(pool, job);

    public override void AddScaled(float* y, float* x, float factor, int width) =>
        RowKernels<TLanes, TVector>.AddScaled(y, x, factor, width);

    public override void Rotate(CpuThreadPool pool, AttentionJob job) => KvKernels<TLanes, TVector>.Rotate(pool, job);

    public override void StoreKv(CpuThreadPool pool, AttentionJob job) => KvKernels<TLanes, TVector>.Store(pool, job);

    public override void Attention(CpuThreadPool pool, AttentionJob job, long work) => AttentionKernel<TLanes, TVector>.Run(pool, job, work);

    public override long AttentionScratchBytes(in AttentionJob job, int rowsPerTile) =>
        AttentionKernel<TLanes, TVector>.ScratchBytes(job, rowsPerTile);
}
