namespace Cluster.Kernels.Cpu;

/// <summary>
/// How a chunk of a weight is cut into tiles. A tile reads several panels at once, and memory is fastest when these are long
/// streams that are far apart: the chunk's panels are cut into as many equal parts as a tile has panels, and tile t takes
/// panel t of every part, so that each stream runs on from tile to tile and no prefetcher starts anew.
/// </summary>
internal readonly struct PanelStreams
{
    private readonly int _first;
    private readonly int _end;
    private readonly int _vectorsPerPanel;
    private readonly int _panels;
    private readonly int _stride;
    private readonly int _group;

    /// <param name="first">First vector of the chunk; starts a panel.</param>
    /// <param name="end">End of the chunk.</param>
    /// <param name="group">Vectors of a tile.</param>
    /// <param name="vectorsPerPanel">Vectors of a panel.</param>
    public PanelStreams(int first, int end, int group, int vectorsPerPanel)
    {
        (_first, _end, _group, _vectorsPerPanel) = (first, end, group, vectorsPerPanel);
        int panelsPerTile = group / _vectorsPerPanel;
        if (panelsPerTile < 2 || group % _vectorsPerPanel != 0)
        {
            // Vectors one after the other.
            Tiles = (end - first + group - 1) / group;
            return;
        }
        _panels = (end - first + _vectorsPerPanel - 1) / _vectorsPerPanel;
        _stride = (_panels + panelsPerTile - 1) / panelsPerTile;
        Tiles = _stride;
    }

    /// <summary>Number of tiles.</summary>
    public int Tiles { get; }

    /// <summary>Vectors of a tile, at least 1.</summary>
    public int Vectors(int tile) => _stride == 0
        ? Math.Min(_group, _end - _first - (tile * _group))
        : Math.Min(_group, ((_panels - tile + _stride - 1) / _stride) * _vectorsPerPanel);

    /// <summary>Vector <paramref name="index"/> of a tile.</summary>
    public int Vector(int tile, int index)
    {
        if (_stride == 0)
            return _first + (tile * _group) + index;
        (int part, int within) = Math.DivRem(index, _vectorsPerPanel);
        return _first + ((tile + (part * _stride)) * _vectorsPerPanel) + within;
    }
}
