using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>Where a packed matrix lies and how large it is; what kernels read.</summary>
/// <param name="Start">First panel.</param>
/// <param name="Outputs">Output features N.</param>
/// <param name="Inputs">Input features K.</param>
/// <param name="PanelBytes">Distance between panels.</param>
internal readonly unsafe record struct PanelView(nint Start, int Outputs, int Inputs, long PanelBytes)
{
    /// <summary>Outputs per panel.</summary>
    public const int Width = 16;

    public int Panels => (Outputs + Width - 1) / Width;

    public byte* Panel(int index) => (byte*)Start + (index * PanelBytes);
}

/// <summary>
/// A weight [N, K] as panels of 16 outputs; a panel holds pairs of k ascending (see <see cref="IPanelFormat"/>). Outputs
/// beyond N and the second half of the last pair of an odd K are zero.
/// </summary>
internal sealed unsafe class PanelMatrix : IDisposable
{
    private readonly NativeBlock _memory;

    public PanelMatrix(int outputs, int inputs, DType type)
    {
        Type = type;
        int pairs = (inputs + 1) / 2;
        long panelBytes = (long)pairs * PairBytes(type);
        int panels = (outputs + PanelView.Width - 1) / PanelView.Width;
        _memory = new NativeBlock(panels * panelBytes, zeroed: false);
        View = new PanelView((nint)_memory.Pointer, outputs, inputs, panelBytes);
    }

    /// <summary>Stored type: Float32, BFloat16 or Float16.</summary>
    public DType Type { get; }

    public PanelView View { get; }

    public void Dispose() => _memory.Dispose();

    /// <summary>Bytes of 16 outputs times two k.</summary>
    public static int PairBytes(DType type) => type == DType.Float32 ? Float32Panel.PairBytes : BFloat16Panel.PairBytes;
}
