using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Cluster.Kernels.Cpu;

namespace Cluster.Benchmarks.Kernels;

/// <summary>What the machine can do, measured in the same run: reading memory, and multiply-adds out of registers.</summary>
internal sealed unsafe class Yardstick(CpuThreadPool pool) : IDisposable
{
    private const int Chunks = 96;
    private const long PartBytes = 1 << 20;
    private const int FmaRounds = 200_000;
    private readonly NativeBlock _memory = new(Bytes, zeroed: true);
    private long _sink;

    /// <summary>Bytes of one <see cref="Read"/>: far beyond the caches.</summary>
    public const long Bytes = Chunks * 4L * PartBytes;

    /// <summary>Floating-point operations of one <see cref="MultiplyAdd"/>.</summary>
    public double Flops => 2.0 * pool.Threads * FmaRounds * 16 * LanesPerVector;

    private static int LanesPerVector => Vector512.IsHardwareAccelerated ? 16 : Vector256.IsHardwareAccelerated ? 8 : 4;

    /// <summary>Reads all bytes, 4 streams per thread.</summary>
    public void Read()
    {
        var job = new ReadJob { Start = _memory.Pointer };
        pool.Run(Chunks, long.MaxValue, &job, &ReadChunk);
        Volatile.Write(ref _sink, job.Sum);
    }

    /// <summary>16 independent chains of FMAs per thread.</summary>
    public void MultiplyAdd()
    {
        var job = default(ReadJob);
        pool.Run(pool.Threads, long.MaxValue, &job, &FmaChunk);
        Volatile.Write(ref _sink, job.Sum);
    }

    public void Dispose() => _memory.Dispose();

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ReadChunk(void* argument, int chunk, int thread)
    {
        var job = (ReadJob*)argument;
        byte* a = job->Start + (chunk * 4 * PartBytes), b = a + PartBytes, c = b + PartBytes, d = c + PartBytes;
        Vector512<long> sumA = default, sumB = default, sumC = default, sumD = default;
        for (long i = 0; i < PartBytes; i += 64)
        {
            sumA += Vector512.Load((long*)(a + i));
            sumB += Vector512.Load((long*)(b + i));
            sumC += Vector512.Load((long*)(c + i));
            sumD += Vector512.Load((long*)(d + i));
        }

        Interlocked.Add(ref job->Sum, Vector512.Sum(sumA + sumB + sumC + sumD));
    }

    private static void FmaChunk(void* argument, int chunk, int thread)
    {
        float sum = Vector512.IsHardwareAccelerated ? Chains<Lanes512, Vector512<float>>()
            : Vector256.IsHardwareAccelerated ? Chains<Lanes256, Vector256<float>>()
            : Chains<Lanes128, Vector128<float>>();
        Interlocked.Add(ref ((ReadJob*)argument)->Sum, (long)sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static float Chains<TLanes, TVector>()
        where TLanes : struct, ILanes<TVector>
        where TVector : unmanaged
    {
        TVector a0 = default, a1 = default, a2 = default, a3 = default, a4 = default, a5 = default, a6 = default, a7 = default;
        TVector b0 = default, b1 = default, b2 = default, b3 = default, b4 = default, b5 = default, b6 = default, b7 = default;
        TVector x = TLanes.Broadcast(0.999f), y = TLanes.Broadcast(0.001f);
        for (int i = 0; i < FmaRounds; i++)
        {
            a0 = TLanes.Fma(a0, x, y);
            a1 = TLanes.Fma(a1, x, y);
            a2 = TLanes.Fma(a2, x, y);
            a3 = TLanes.Fma(a3, x, y);
            a4 = TLanes.Fma(a4, x, y);
            a5 = TLanes.Fma(a5, x, y);
            a6 = TLanes.Fma(a6, x, y);
            a7 = TLanes.Fma(a7, x, y);
            b0 = TLanes.Fma(b0, x, y);
            b1 = TLanes.Fma(b1, x, y);
            b2 = TLanes.Fma(b2, x, y);
            b3 = TLanes.Fma(b3, x, y);
            b4 = TLanes.Fma(b4, x, y);
            b5 = TLanes.Fma(b5, x, y);
            b6 = TLanes.Fma(b6, x, y);
            b7 = TLanes.Fma(b7, x, y);
        }

        TVector sum = TLanes.Add(TLanes.Add(TLanes.Add(a0, a1), TLanes.Add(a2, a3)), TLanes.Add(TLanes.Add(a4, a5), TLanes.Add(a6, a7)));
        sum = TLanes.Add(sum, TLanes.Add(TLanes.Add(TLanes.Add(b0, b1), TLanes.Add(b2, b3)), TLanes.Add(TLanes.Add(b4, b5), TLanes.Add(b6, b7))));
        float* lanes = stackalloc float[16];
        TLanes.Store(lanes, sum);
        return lanes[0];
    }

    private struct ReadJob
    {
        public byte* Start;
        public long Sum;
    }
}
