namespace Cluster.Kernels.Cpu;

/// <summary>Register tiles over quantised weights of one format.</summary>
internal interface IBlockTile
{
    /// <summary>Outputs per vector; divides a panel's.</summary>
    static abstract int Width { get; }

    /// <summary>Most rows of one pass.</summary>
    static abstract int RowsPerPass { get; }

    /// <summary>Vectors of the tiles that compute this many rows.</summary>
    static abstract int VectorsFor(int rows);

    /// <summary>Adds the products of a tile's groups to its sums; what is beyond its rows and vectors repeats the last one.</summary>
    static abstract void Run(in BlockTileJob tile);
}
