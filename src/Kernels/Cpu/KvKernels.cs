using System.Runtime.CompilerServices;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>Head norms, rotary embedding and the writing of keys and values: one row after the other.</summary>
internal static unsafe class KvKernels<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    private const int ElementsPerChunk = 16 * 1024;

    // Below it 127 / greatest would not be finite; such a vector is stored as zero.
    private const float SmallestFactor = 1e-37f;

    public static void Rotate(CpuThreadPool pool, AttentionJob job) => Run(pool, &job, &RotateChunk);

    public static void Store(CpuThreadPool pool, AttentionJob job) => Run(pool, &job, &StoreChunk);

    private static void Run(CpuThreadPool pool, AttentionJob* job, delegate*<void*, int, int, void> body)
    {
        job->RowsPerChunk = Math.Max(1, ElementsPerChunk / ((job->QueryHeads + (2 * job->KvHeads)) * job->HeadDim));
        pool.Run((job->Rows + job->RowsPerChunk - 1) / job->RowsPerChunk, long.MaxValue, job, body);
    }

    private static void RotateChunk(void* argument, int chunk, int thread)
    {
        var job = (AttentionJob*)argument;
        int end = Math.Min(job->Rows, (chunk + 1) * job->RowsPerChunk);
        for (int row = chunk * job->RowsPerChunk; row < end; row++)
        {
            float* head = job->Qkv + (row * job->QkvStride);
            long angle = (long)job->Positions[row] * job->RotaryHalf;
            for (int h = 0; h < job->QueryHeads + job->KvHeads; h++, head += job->HeadDim)
            {
                float* norm = h < job->QueryHeads ? job->QueryNorm : job->KeyNorm;
                if (norm is not null)
                    RowKernels<TLanes, TVector>.NormRow(head, norm, job->HeadDim, job->Epsilon, head);
                RotateHead(head, job->Cosines + angle, job->Sines + angle, job->RotaryHalf);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RotateHead(float* head, float* cosines, float* sines, int half)
    {
        int i = 0;
        for (; i + TLanes.Width <= half; i += TLanes.Width)
            RotateLanes<TLanes, TVector>(head + i, half, cosines + i, sines + i);
        for (; i < half; i++)
            RotateLanes<LanesScalar, float>(head + i, half, cosines + i, sines + i);
    }

    private static void RotateLanes<TL, TV>(float* head, int half, float* cosines, float* sines)
        where TL : struct, ILanes<TV>
        where TV : unmanaged
    {
        TV cos = TL.Load(cosines), sin = TL.Load(sines);
        TV first = TL.Load(head), second = TL.Load(head + half);
        TL.Store(head, TL.Fma(TL.Subtract(default, second), sin, TL.Multiply(first, cos)));
        TL.Store(head + half, TL.Fma(first, sin, TL.Multiply(second, cos)));
    }

    private static void StoreChunk(void* argument, int chunk, int thread)
    {
        var job = (AttentionJob*)argument;
        int end = Math.Min(job->Rows, (chunk + 1) * job->RowsPerChunk);
        for (int row = chunk * job->RowsPerChunk; row < end; row++)
        {
            (int block, int offset) = Math.DivRem(job->Slots[row], job->BlockSize);
            float* key = job->Qkv + (row * job->QkvStride) + ((long)job->QueryHeads * job->HeadDim);
            float* value = key + ((long)job->KvHeads * job->HeadDim);
            for (int head = 0; head < job->KvHeads; head++, key += job->HeadDim, value += job->HeadDim)
            {
                byte* keys = job->KeyHead(block, head) + (offset / PanelView.Width * job->Layout.KeyGroupBytes);
                byte* values = job->ValueHead(block, head) + (offset / 2 * job->Layout.ValuePairBytes);
                if (job->KvType == DType.Float32)
                    StoreFloats(job->HeadDim, key, (float*)keys, value, (float*)values, offset);
                else if (job->KvType == DType.BFloat16)
                    StoreHalves(job->HeadDim, key, (ushort*)keys, value, (ushort*)values, offset);
                else
                    StoreBytes(job, key, (sbyte*)keys, value, (sbyte*)values, offset, job->Factors(block, head) + offset);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void StoreFloats(int headDim, float* key, float* keys, float* value, float* values, int offset)
    {
        keys += offset % PanelView.Width;
        for (int d = 0; d < headDim; d++)
            keys[16 * d] = key[d];
        values += 16 * (offset % 2);
        for (int d = 0; d < headDim; d++)
            values[(d / 16 * 32) + (d % 16)] = value[d];
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void StoreHalves(int headDim, float* key, ushort* keys, float* value, ushort* values, int offset)
    {
        keys += 2 * (offset % PanelView.Width);
        for (int d = 0; d < headDim; d++)
            keys[(32 * (d / 2)) + (d % 2)] = BFloat.Narrow(key[d]);
        values += offset % 2;
        for (int d = 0; d < headDim; d++)
            values[(d / 16 * 32) + (2 * (d % 16))] = BFloat.Narrow(value[d]);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void StoreBytes(AttentionJob* job, float* key, sbyte* keys, float* value, sbyte* values, int offset, float* factors)
    {
        float keySteps = StepsPerUnit(key, job->HeadDim, out *factors);
        float valueSteps = StepsPerUnit(value, job->HeadDim, out factors[job->Layout.FactorHeadBytes / sizeof(float)]);
        keys += offset % PanelView.Width;
        for (int d = 0; d < job->HeadDim; d++)
            keys[16 * d] = (sbyte)MathF.Round(key[d] * keySteps);
        values += 16 * (offset % 2);
        for (int d = 0; d < job->HeadDim; d++)
            values[(d / 16 * 32) + (d % 16)] = (sbyte)MathF.Round(value[d] * valueSteps);
    }

    /// <summary>Steps of a byte per unit: the greatest magnitude becomes 127. NaN and infinity go into the factor, so that they are not lost.</summary>
    private static float StepsPerUnit(float* elements, int count, out float factor)
    {
        float greatest = 0;
        for (int d = 0; d < count; d++)
            greatest = MathF.Max(greatest, MathF.Abs(elements[d]));
        factor = greatest / 127;
        return factor >= SmallestFactor ? 127 / greatest : 0;
    }
}
