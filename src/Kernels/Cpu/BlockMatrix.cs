namespace Cluster.Kernels.Cpu;

/// <summary>Formats of quantised panels.</summary>
internal enum BlockKind
{
    /// <summary>No quantised panels.</summary>
    None,

    /// <summary><see cref="Int8Blocks"/>.</summary>
    Int8,

    /// <summary><see cref="Int4Blocks"/>.</summary>
    Int4,

    /// <summary><see cref="Int4MinimumBlocks"/>.</summary>
    Int4Minimum,
}

/// <summary>Where a quantised matrix lies and how large it is.</summary>
/// <param name="Kind">Format.</param>
/// <param name="Start">First panel.</param>
/// <param name="Outputs">Output features N.</param>
/// <param name="Inputs">Input features K, whole groups of 32.</param>
/// <param name="PanelBytes">Distance between panels.</param>
internal readonly unsafe record struct BlockView(BlockKind Kind, nint Start, int Outputs, int Inputs, long PanelBytes)
{
    /// <summary>Outputs per panel.</summary>
    public const int Width = 16;

    /// <summary>Inputs that share a scale.</summary>
    public const int Group = 32;

    public int Panels => (Outputs + Width - 1) / Width;

    public int Groups => Inputs / Group;

    public byte* Panel(int index) => (byte*)Start + (index * PanelBytes);

    public static int HeadBytes(BlockKind kind) => kind == BlockKind.Int4Minimum ? Int4MinimumBlocks.HeadBytes : Int8Blocks.HeadBytes;

    public static int GroupBytes(BlockKind kind) => 4 * Width * (kind == BlockKind.Int8 ? Int8Blocks.Vectors : Int4Blocks.Vectors);

    public static int RecordBytes(BlockKind kind) => HeadBytes(kind) + (2 * GroupBytes(kind));
}

/// <summary>A quantised weight [N, K] as panels of 16 outputs (see <see cref="IBlockFormat"/>). Outputs beyond N and the second group of a last record have scale 0.</summary>
internal sealed unsafe class BlockMatrix : IDisposable
{
    private readonly NativeBlock _memory;

    public BlockMatrix(BlockKind kind, int outputs, int inputs)
    {
        int records = ((inputs / BlockView.Group) + 1) / 2;
        long panelBytes = (long)records * BlockView.RecordBytes(kind);
        _memory = new NativeBlock((outputs + BlockView.Width - 1) / BlockView.Width * panelBytes, zeroed: true);
        View = new BlockView(kind, (nint)_memory.Pointer, outputs, inputs, panelBytes);
    }

    public BlockView View { get; }

    public void Dispose() => _memory.Dispose();
}
