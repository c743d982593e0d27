using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// y = x Wᵀ over quantised weights; input rows are quantised to 8 bits first (<see cref="RowBlocks"/>). Every output is one
/// chain over groups per K segment, ascending, whatever the number of rows: few rows stream the weights once; many rows pass a few at a
/// time over a block of weights that stays in the L1 cache.
/// </summary>
internal static unsafe class BlockLinear<TLanes, TVector, TTile>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TTile : struct, IBlockTile
{
    // A panel times 32 groups: 17 KB of 8-bit weights.
    private const int MaxGroupsPerBlock = 32;

    // Measured: more rows take longer over a line, and gain from asking earlier.
    private static int PrefetchBytes(int rows) => rows <= 2 ? 1024 : 4096;

    /// <summary>Runs equally shaped jobs (experts; usually it is one) over the pool.</summary>
    public static void Run(CpuThreadPool pool, LinearJob* jobs, int count, NativeBlock sums, Scratch rowScratch)
    {
        long work = 0, bytes = 0;
        int mostRows = 0;
        for (int i = 0; i < count; i++)
        {
            work += jobs[i].Work;
            mostRows = Math.Max(mostRows, jobs[i].Rows);
            bytes += RowBlocks.BytesFor(jobs[i].Rows, jobs[i].Blocks.Inputs);
        }

        if (mostRows == 0)
            return;
        Quantize(pool, jobs, count, rowScratch.Get(bytes).Pointer);
        int vectorsPerPanel = BlockView.Width / TTile.Width;
        int unit = Math.Max(TTile.VectorsFor(mostRows), vectorsPerPanel);
        LinearRegion region = LinearRegion.Cut(pool.Threads, jobs, count, mostRows, jobs->Blocks.Panels * vectorsPerPanel, unit);
        region.Scratch = sums.Pointer;
        region.ScratchStride = LinearRegion.ScratchBytes;
        pool.Run(count * region.RowChunks * region.VectorChunks, work, &region, &Chunk);
    }

    private static void Quantize(CpuThreadPool pool, LinearJob* jobs, int count, byte* place)
    {
        for (int i = 0; i < count; i++)
        {
            LinearJob* job = jobs + i;
            job->XBlocks = new RowBlocks(place, job->Rows, job->Blocks.Inputs);
            place += RowBlocks.BytesFor(job->Rows, job->Blocks.Inputs);

            // A conversion is worth a few multiply-adds: one short row is not shared out.
            pool.Run(job->Rows, (long)job->Rows * job->Blocks.Inputs, job, &QuantizeRow);
        }
    }

    private static void QuantizeRow(void* argument, int row, int thread)
    {
        var job = (LinearJob*)argument;
        job->XBlocks.Fill(row, job->X + (row * job->XStride));
    }

    private static void Chunk(void* argument, int chunk, int thread)
    {
        var region = (LinearRegion*)argument;
        LinearJob job = region->JobOf(chunk, out int vector, out int end);
        if (job.Rows == 0)
            return;
        var sums = (float*)(region->Scratch + (thread * region->ScratchStride));
        Outputs(job, vector, end, sums);
    }

    private static void Outputs(in LinearJob job, int firstVector, int endVector, float* sums)
    {
        int group = TTile.VectorsFor(job.Rows);
        int rowsPerBlock = LinearRegion.MaxSums / (job.Segments * group * TTile.Width);
        var streams = new PanelStreams(firstVector, endVector, group, BlockView.Width / TTile.Width);
        for (int tile = 0; tile < streams.Tiles; tile++)
        {
            for (int row = 0; row < job.Rows; row += rowsPerBlock)
            {
                LinearJob block = job.RowRange(row, Math.Min(rowsPerBlock, job.Rows - row));
                Sum(block, streams, tile, sums);
                LinearFinish<TLanes, TVector>.Write(block, streams, tile, sums);
            }
        }
    }

    /// <summary>sums[segment, row, lane].</summary>
    private static void Sum(in LinearJob job, in PanelStreams streams, int tileIndex, float* sums)
    {
        int lanes = streams.Vectors(tileIndex) * TTile.Width;
        new Span<float>(sums, job.Segments * job.Rows * lanes).Clear();
        BlockTileJob tile = TileAt(job, streams, tileIndex);
        int blockGroups = job.Rows > TTile.RowsPerPass ? MaxGroupsPerBlock : int.MaxValue;
        for (int segment = 0; segment < job.Segments; segment++)
        {
            int end = (int)((long)(segment + 1) * job.Blocks.Groups / job.Segments);
            for (tile.First = (int)((long)segment * job.Blocks.Groups / job.Segments); tile.First < end; tile.First = tile.End)
            {
                tile.End = end - tile.First > blockGroups ? tile.First + blockGroups : end;
                Pass(ref tile, job, sums + ((long)segment * job.Rows * lanes));
            }
        }
    }

    private static void Pass(ref BlockTileJob tile, in LinearJob job, float* sums)
    {
        int rowsPerPass = TTile.RowsPerPass;
        for (int row = 0; row < job.Rows; row += rowsPerPass)
        {
            tile.Rows = Math.Min(rowsPerPass, job.Rows - row);
            tile.X = job.XBlocks.From(row);
            tile.Sums = sums + (row * tile.SumStride);
            TTile.Run(tile);
        }
    }

    private static BlockTileJob TileAt(in LinearJob job, in PanelStreams streams, int tileIndex)
    {
        int vectors = streams.Vectors(tileIndex);
        var tile = new BlockTileJob { Vectors = vectors, SumStride = vectors * TTile.Width, PrefetchBytes = PrefetchBytes(job.Rows) };
        tile.Panel0 = Stream(job, streams.Vector(tileIndex, 0), out tile.Lane0);
        tile.Panel1 = Stream(job, streams.Vector(tileIndex, Math.Min(1, vectors - 1)), out tile.Lane1);
        tile.Panel2 = Stream(job, streams.Vector(tileIndex, Math.Min(2, vectors - 1)), out tile.Lane2);
        tile.Panel3 = Stream(job, streams.Vector(tileIndex, Math.Min(3, vectors - 1)), out tile.Lane3);
        return tile;
    }

    private static byte* Stream(in LinearJob job, int vector, out int lane)
    {
        (int panel, lane) = Math.DivRem(vector * TTile.Width, BlockView.Width);
        return job.Blocks.Panel(panel);
    }
}
