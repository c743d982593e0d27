using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Cluster.Kernels.Cpu;

namespace Cluster.Benchmarks.Kernels;

/// <summary>
/// Reads the blocks of a KV cache in the order of a block table and does nothing else: what attention over them could reach at
/// best. Four blocks side by side, two lines of each in turn, each line asked for a kilobyte ahead: the fastest order found.
/// </summary>
internal sealed unsafe class BlockScan(CpuThreadPool pool, CpuKvCache cache, int[] blocks)
{
    private const int Streams = 4;
    private const int BlocksPerChunk = 64;
    private const int BytesAhead = 1024;
    private const int LineBytes = 64;
    private long _sink;

    /// <summary>Reads a layer.</summary>
    public void Read(int layer)
    {
        fixed (int* table = blocks)
        {
            var job = new ScanJob { Layer = cache.Layer(layer), Table = table, Blocks = blocks.Length / Streams * Streams, BlockBytes = cache.Layout.BlockBytes };
            pool.Run((job.Blocks + BlocksPerChunk - 1) / BlocksPerChunk, long.MaxValue, &job, &ReadChunk);
            Volatile.Write(ref _sink, job.Sum);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ReadChunk(void* argument, int chunk, int thread)
    {
        var job = (ScanJob*)argument;
        int end = Math.Min(job->Blocks, (chunk + 1) * BlocksPerChunk);
        Vector512<long> sum = default;
        for (int block = chunk * BlocksPerChunk; block < end; block += Streams)
            sum += ReadBlocks(job, block, Math.Min(block + Streams, end - Streams));
        job->Sum += Vector512.Sum(sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Vector512<long> ReadBlocks(ScanJob* job, int block, int next)
    {
        Vector512<long> sum = default;
        for (long at = 0; at < job->BlockBytes; at += 2 * LineBytes)
        {
            bool isNear = at + BytesAhead < job->BlockBytes;
            int ahead = isNear ? block : next;
            long aheadAt = at + BytesAhead - (isNear ? 0 : job->BlockBytes);
            for (int i = 0; i < Streams; i++)
            {
                byte* asked = job->Block(ahead + i) + aheadAt;
                CacheHint.Read(asked);
                CacheHint.Read(asked + LineBytes);
                byte* read = job->Block(block + i) + at;
                sum += Vector512.Load((long*)read) + Vector512.Load((long*)(read + LineBytes));
            }
        }

        return sum;
    }

    private struct ScanJob
    {
        public byte* Layer;
        public int* Table;
        public int Blocks;
        public long BlockBytes;
        public long Sum;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public readonly byte* Block(int index) => Layer + (Table[index] * BlockBytes);
    }
}
