using System.Runtime.CompilerServices;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// y = x Wᵀ over quantised weights; input rows are quantised to 8 bits first (<see cref="RowBlocks"/>). Every output is one
/// chain over groups per K segment, ascending, whatever the number of rows: few rows stream the weights once; many rows pass 4 at a
/// time over a block of weights that stays in the L1 cache.
/// </summary>
internal static unsafe class BlockLinear<TLanes, TVector, TBytes, TInt>
    where TLanes : struct, ILanes<TVector>
    where TVector : unmanaged
    where TBytes : struct, IByteLanes<TVector, TInt>
    where TInt : unmanaged
{
    /// <summary>Bytes of sums each thread needs.</summary>
    public const int ScratchBytes = 4 * MaxSums;

    private const int MaxSums = 32 * 1024;

    // 2 panels of 8 outputs times 32 groups: 17 KB of 8-bit weights.
    private const int MaxGroupsPerBlock = 32;
    private const int PrefetchBytes = 1024;

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
        int vectorsPerPanel = BlockView.Width / TBytes.Width;
        int unit = Math.Max(mostRows <= 2 ? 4 : 2, vectorsPerPanel);
        LinearRegion region = LinearRegion.Cut(pool.Threads, jobs, count, mostRows, jobs->Blocks.Panels * vectorsPerPanel, unit);
        region.Scratch = sums.Pointer;
        region.ScratchStride = ScratchBytes;
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
        switch (job.Blocks.Kind)
        {
            case BlockKind.Int8:
                Outputs<Int8Blocks>(job, vector, end, sums);
                break;
            case BlockKind.Int4:
                Outputs<Int4Blocks>(job, vector, end, sums);
                break;
            default:
                Outputs<Int4MinimumBlocks>(job, vector, end, sums);
                break;
        }
    }

    private static void Outputs<TFormat>(in LinearJob job, int firstVector, int endVector, float* sums)
        where TFormat : struct, IBlockFormat
    {
        int group = BlockTile<TLanes, TVector, TBytes, TInt, TFormat>.VectorsFor(job.Rows);
        int rowsPerBlock = MaxSums / (job.Segments * group * TBytes.Width);
        var streams = new PanelStreams(firstVector, endVector, group, BlockView.Width / TBytes.Width);
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
        where TFormat : struct, IBlockFormat
    {
        int lanes = streams.Vectors(tileIndex) * TBytes.Width;
        new Span<float>(sums, job.Segments * job.Rows * lanes).Clear();
        BlockTileJob tile = TileAt(job, streams, tileIndex);
        int blockGroups = job.Rows > BlockTile<TLanes, TVector, TBytes, TInt, TFormat>.RowsPerPass ? MaxGroupsPerBlock : int.MaxValue;
        for (int segment = 0; segment < job.Segments; segment++)
        {
            int end = (int)((long)(segment + 1) * job.Blocks.Groups / job.Segments);
            for (tile.First = (int)((long)segment * job.Blocks.Groups / job.Segments); tile.First < end; tile.First = tile.End)
            {
                tile.End = end - tile.First > blockGroups ? tile.First + blockGroups : end;
                Pass<TFormat>(ref tile, job, sums + ((long)segment * job.Rows * lanes));
            }
        }
    }

    private static void Pass<TFormat>(ref BlockTileJob tile, in LinearJob job, float* sums)
        where TFormat : struct, IBlockFormat
    {
        const int RowsPerPass = BlockTile<TLanes, TVector, TBytes, TInt, TFormat>.RowsPerPass;
        for (int row = 0; row < job.Rows; row += RowsPerPass)
        {
            tile.Rows = Math.Min(RowsPerPass, job.Rows - row);
            tile.X = job.XBlocks.From(row);
            tile.Sums = sums + (row * tile.SumStride);
            BlockTile<TLanes, TVector, TBytes, TInt, TFormat>.Run(tile);
        }
    }

    private static BlockTileJob TileAt(in LinearJob job, in PanelStreams streams, int tileIndex)
    {
        int vectors = streams.Vectors(tileIndex);
        var tile = new BlockTileJob { Vectors = vectors, SumStride = vectors * TBytes.Width, PrefetchBytes = PrefetchBytes };
        tile.Panel0 = Stream(job, streams.Vector(tileIndex, 0), out tile.Lane0);
        tile.Panel1 = Stream(job, streams.Vector(tileIndex, Math.Min(1, vectors - 1)), out tile.Lane1);
        tile.Panel2 = Stream(job, streams.Vector(tileIndex, Math.Min(2, vectors - 1)), out tile.Lane2);
        tile.Panel3 = Stream(job, streams.Vector(tileIndex, Math.Min(3, vectors - 1)), out tile.Lane3);
        return tile;
    }

    private static byte* Stream(in LinearJob job, int vector, out int lane)
    {
        (int panel, lane) = Math.DivRem(vector * TBytes.Width, BlockView.Width);
        return job.Blocks.Panel(panel);
    }
}
