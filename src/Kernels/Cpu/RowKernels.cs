using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>RMS norm, gated SiLU and gated addition. Elements are independent; the sum of squares has 16 fixed lanes.</summary>
internal static unsafe class RowKernels<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    private const int SumLanes = 16;
    private const int ElementsPerChunk = 16 * 1024;

    public static void Norm(CpuThreadPool pool, RowJob job) => Run(pool, &job, &NormChunk);

    public static void GatedSilu(CpuThreadPool pool, RowJob job) => Run(pool, &job, &SiluChunk);

    public static void AddGated(CpuThreadPool pool, RowJob job) => Run(pool, &job, &AddGatedChunk);

    public static void AddRows(CpuThreadPool pool, RowJob job) => Run(pool, &job, &AddRowsChunk);

    /// <summary>y = x / rms(x) * weight; x and y may be the same.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void NormRow(float* x, float* weight, int width, float epsilon, float* y)
    {
        float scale = 1 / MathF.Sqrt((SumOfSquares(x, width) / width) + epsilon);
        TVector scales = TLanes.Broadcast(scale);
        int i = 0;
        for (; i + TLanes.Width <= width; i += TLanes.Width)
            TLanes.Store(y + i, TLanes.Multiply(TLanes.Multiply(TLanes.Load(x + i), scales), TLanes.Load(weight + i)));
        for (; i < width; i++)
            y[i] = x[i] * scale * weight[i];
    }

    private static void Run(CpuThreadPool pool, RowJob* job, delegate*<void*, int, int, void> body)
    {
        if (job->Rows == 0)
            return;
        job->RowsPerChunk = Math.Max(1, ElementsPerChunk / Math.Max(1, job->Width));
        pool.Run((job->Rows + job->RowsPerChunk - 1) / job->RowsPerChunk, long.MaxValue, job, body);
    }

    private static void NormChunk(void* argument, int chunk, int thread)
    {
        var job = (RowJob*)argument;
        (int row, int end) = Rows(job, chunk);
        for (; row < end; row++)
            NormRow(job->X + (row * job->XStride), job->Other, job->Width, job->Epsilon, job->Y + (row * job->YStride));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SiluChunk(void* argument, int chunk, int thread)
    {
        var job = (RowJob*)argument;
        (int row, int end) = Rows(job, chunk);
        for (; row < end; row++)
        {
            float* gate = job->X + (row * job->XStride);
            float* y = job->Y + (row * job->YStride);
            int i = 0;
            for (; i + TLanes.Width <= job->Width; i += TLanes.Width)
                SiluLanes<TLanes, TVector>(gate + i, job->Width, y + i);
            for (; i < job->Width; i++)
                SiluLanes<LanesScalar, float>(gate + i, job->Width, y + i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void SiluLanes<TL, TV>(float* gate, int width, float* y)
        where TL : struct, ILanes<TV>
        where TV : unmanaged =>
        TL.Store(y, TL.Multiply(LaneMath<TL, TV>.Silu(TL.Load(gate)), TL.Load(gate + width)));

    private static void AddGatedChunk(void* argument, int chunk, int thread)
    {
        var job = (RowJob*)argument;
        (int row, int end) = Rows(job, chunk);
        for (; row < end; row++)
        {
            float factor = LaneMath<LanesScalar, float>.Sigmoid(job->Other[row * job->OtherStride]);
            AddScaled(job->Y + (row * job->YStride), job->X + (row * job->XStride), factor, job->Width);
        }
    }

    // The bias joins the sum before the sum joins y: the order in which a whole linear adds to its output.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddRowsChunk(void* argument, int chunk, int thread)
    {
        var job = (RowJob*)argument;
        (int row, int end) = Rows(job, chunk);
        for (; row < end; row++)
        {
            float* x = job->X + (row * job->XStride);
            float* y = job->Y + (row * job->YStride);
            int i = 0;
            for (; i + TLanes.Width <= job->Width; i += TLanes.Width)
            {
                TVector value = TLanes.Load(x + i);
                TLanes.Store(y + i, TLanes.Add(TLanes.Load(y + i), job->Other is null ? value : TLanes.Add(value, TLanes.Load(job->Other + i))));
            }
            for (; i < job->Width; i++)
                y[i] += job->Other is null ? x[i] : x[i] + job->Other[i];
        }
    }

    /// <summary>y += factor * x, fused.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddScaled(float* y, float* x, float factor, int width)
    {
        TVector factors = TLanes.Broadcast(factor);
        int i = 0;
        for (; i + TLanes.Width <= width; i += TLanes.Width)
            TLanes.Store(y + i, TLanes.Fma(factors, TLanes.Load(x + i), TLanes.Load(y + i)));
        for (; i < width; i++)
            y[i] = MathF.FusedMultiplyAdd(factor, x[i], y[i]);
    }

    /// <summary>Lane i of 16 sums the squares of elements i, i + 16, ...; then a binary tree over the lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float SumOfSquares(float* x, int width)
    {
        float* lanes = stackalloc float[SumLanes];
        int whole = width / SumLanes * SumLanes;
        for (int lane = 0; lane < SumLanes; lane += TLanes.Width)
        {
            TVector sum = default;
            for (int i = lane; i < whole; i += SumLanes)
            {
                TVector value = TLanes.Load(x + i);
                sum = TLanes.Fma(value, value, sum);
            }

            TLanes.Store(lanes + lane, sum);
        }

        for (int i = whole; i < width; i++)
            lanes[i - whole] = MathF.FusedMultiplyAdd(x[i], x[i], lanes[i - whole]);
        return TLanes.Sum16(lanes);
    }

    private static (int First, int End) Rows(RowJob* job, int chunk) =>
        (chunk * job->RowsPerChunk, Math.Min(job->Rows, (chunk + 1) * job->RowsPerChunk));
}
