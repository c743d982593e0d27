using System.Runtime.CompilerServices;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// y = x Wᵀ over panels. Every output is one chain of FMAs per K segment, k ascending, whatever the number of rows: few rows
/// stream the weights once; many rows pass 8 at a time over a block of weights that stays in the L2 cache.
/// </summary>
internal static unsafe class PanelLinear<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
{
    // 3 vectors of 16 outputs times 1024 pairs: 196 KB of bf16, 393 KB of fp32.
    private const int MaxPairsPerBlock = 1024;

    // Measured: more rows take longer over a line, and gain from asking earlier.
    private static int PrefetchBytes(int rows) => rows <= 2 ? 1024 : 2048;

    /// <summary>Runs equally shaped jobs (experts; usually it is one) over the pool.</summary>
    public static void Run(CpuThreadPool pool, LinearJob* jobs, int count, NativeBlock scratch)
    {
        long work = 0;
        int mostRows = 0;
        for (int i = 0; i < count; i++)
        {
            work += jobs[i].Work;
            mostRows = Math.Max(mostRows, jobs[i].Rows);
        }

        if (mostRows == 0)
            return;
        int vectors = jobs->Weight.Panels * PanelView.Width / TLanes.Width;
        LinearRegion region = LinearRegion.Cut(pool.Threads, jobs, count, mostRows, vectors, TileVectors(mostRows));
        region.Scratch = scratch.Pointer;
        region.ScratchStride = LinearRegion.ScratchBytes;
        pool.Run(count * region.RowChunks * region.VectorChunks, work, &region, &Chunk);
    }

    private static int TileVectors(int rows) => PanelTile<TLanes, TVector, BFloat16Panel>.VectorsFor(rows);

    private static void Chunk(void* argument, int chunk, int thread)
    {
        var region = (LinearRegion*)argument;
        LinearJob job = region->JobOf(chunk, out int vector, out int end);
        if (job.Rows == 0)
            return;
        var sums = (float*)(region->Scratch + (thread * region->ScratchStride));
        switch (job.Type)
        {
            case DType.Float32:
                Outputs<Float32Panel>(job, vector, end, sums);
                break;
            case DType.BFloat16:
                Outputs<BFloat16Panel>(job, vector, end, sums);
                break;
            default:
                Outputs<Float16Panel>(job, vector, end, sums);
                break;
        }
    }

    private static void Outputs<TFormat>(in LinearJob job, int firstVector, int endVector, float* sums)
        where TFormat : struct, IPanelFormat
    {
        int group = TileVectors(job.Rows);
        int rowsPerBlock = LinearRegion.MaxSums / (job.Segments * group * TLanes.Width);
        var streams = new PanelStreams(firstVector, endVector, group, PanelView.Width / TLanes.Width);
        for (int tile = 0; tile < streams.Tiles; tile++)
        {
            for (int row = 0; row < job.Rows; row += rowsPerBlock)
            {
                LinearJob block = job.RowRange(row, Math.Min(rowsPerBlock, job.Rows - row));
                Sum<TFormat>(block, streams, tile, sums);
                LinearFinish<TLanes, TVector>.Write(block, streams, tile, sums);
            }
        }
    }

    /// <summary>sums[segment, row, lane].</summary>
    private static void Sum<TFormat>(in LinearJob job, in PanelStreams streams, int tileIndex, float* sums)
        where TFormat : struct, IPanelFormat
    {
        int lanes = streams.Vectors(tileIndex) * TLanes.Width;
        new Span<float>(sums, job.Segments * job.Rows * lanes).Clear();
        int wholePairs = job.Weight.Inputs / 2;
        int blockPairs = job.Rows > PanelTile<TLanes, TVector, TFormat>.RowsPerPass ? MaxPairsPerBlock : int.MaxValue;
        for (int segment = 0; segment < job.Segments; segment++)
        {
            int end = job.SegmentStart(segment + 1);
            for (int pair = job.SegmentStart(segment); pair < end;)
            {
                int next = end - pair > blockPairs ? pair + blockPairs : end;
                int whole = Math.Min(next, wholePairs);
                Tile tile = TileAt<TFormat>(job, streams, tileIndex, pair);
                tile.Pairs = whole - pair;
                tile.Odd = next > whole;
                Pass<TFormat>(ref tile, job, sums + ((long)segment * job.Rows * lanes));
                pair = next;
            }
        }
    }

    private static void Pass<TFormat>(ref Tile tile, in LinearJob job, float* sums)
        where TFormat : struct, IPanelFormat
    {
        float* x = tile.X;
        long blockBytes = (long)tile.Pairs * TFormat.PairBytes;
        for (int row = 0; row < job.Rows; row += PanelTile<TLanes, TVector, TFormat>.RowsPerPass)
        {
            tile.Rows = Math.Min(PanelTile<TLanes, TVector, TFormat>.RowsPerPass, job.Rows - row);
            tile.X = x + (row * tile.XStride);
            tile.Sums = sums + (row * tile.SumStride);

            // The second pass finds its weights in the L2 cache: it fetches the next block meanwhile.
            tile.PrefetchBytes = row == PanelTile<TLanes, TVector, TFormat>.RowsPerPass ? blockBytes : PrefetchBytes(tile.Rows);
            PanelTile<TLanes, TVector, TFormat>.Run(tile);
        }
    }

    private static Tile TileAt<TFormat>(in LinearJob job, in PanelStreams streams, int tileIndex, int pair)
        where TFormat : struct, IPanelFormat
    {
        int vectors = streams.Vectors(tileIndex);
        return new Tile
        {
            Panels0 = Stream<TFormat>(job, streams.Vector(tileIndex, 0), pair),
            Panels1 = Stream<TFormat>(job, streams.Vector(tileIndex, Math.Min(1, vectors - 1)), pair),
            Panels2 = Stream<TFormat>(job, streams.Vector(tileIndex, Math.Min(2, vectors - 1)), pair),
            Panels3 = Stream<TFormat>(job, streams.Vector(tileIndex, Math.Min(3, vectors - 1)), pair),
            Vectors = vectors,
            X = job.X + (2L * pair),
            XStride = job.XStride,
            SumStride = vectors * TLanes.Width,
        };
    }

    private static byte* Stream<TFormat>(in LinearJob job, int vector, int pair)
        where TFormat : struct, IPanelFormat
    {
        (int panel, int lane) = Math.DivRem(vector * TLanes.Width, PanelView.Width);
        return job.Weight.Panel(panel) + ((long)pair * TFormat.PairBytes) + (4 * lane);
    }
}
