namespace Cluster.Grains.Scheduling;

/// <summary>A sequence's blocks in the order of its positions.</summary>
internal sealed class BlockTable
{
    private int[] _blocks = new int[8];

    /// <summary>Number of blocks.</summary>
    public int Count { get; private set; }

    /// <summary>Block that holds positions [index * blockSize, (index + 1) * blockSize).</summary>
    public int this[int index] => Blocks[index];

    /// <summary>All blocks.</summary>
    public ReadOnlySpan<int> Blocks => _blocks.AsSpan(0, Count);

    /// <summary>Appends a block.</summary>
    public void Add(int block)
    {
        if (Count == _blocks.Length)
            Array.Resize(ref _blocks, Count * 2);
        _blocks[Count++] = block;
    }

    /// <summary>Forgets all blocks; whoever calls has given them back.</summary>
    public void Clear() => Count = 0;
}
