namespace Cluster.Grains.Scheduling;

/// <summary>
/// Reference counts of all KV blocks. A block is free, cached (known by content, referenced by nobody) or used; the three
/// always add up to the capacity.
/// </summary>
internal sealed class BlockPool
{
    private readonly int[] _references;
    private readonly int[] _free;
    private readonly PrefixCache _cache;
    private int _freeCount;

    /// <summary>A pool whose blocks are all free.</summary>
    public BlockPool(int capacity, PrefixCache cache)
    {
        _cache = cache;
        _references = new int[capacity];
        _free = new int[capacity];
        for (int i = 0; i < capacity; i++)
            _free[i] = capacity - 1 - i;
        _freeCount = capacity;
    }

    /// <summary>Blocks in all.</summary>
    public int Capacity => _references.Length;

    /// <summary>Blocks with no content worth keeping.</summary>
    public int FreeCount => _freeCount;

    /// <summary>Blocks kept for their content that can be taken at any time.</summary>
    public int CachedCount => _cache.UnreferencedCount;

    /// <summary>Blocks in at least one table.</summary>
    public int UsedCount { get; private set; }

    /// <summary>Blocks that can be allocated now.</summary>
    public int AvailableCount => _freeCount + CachedCount;

    /// <summary>How many tables hold a block.</summary>
    public int References(int block) => _references[block];

    /// <summary>Adds <paramref name="count"/> writable blocks to a table, or none when there are too few.</summary>
    public bool TryAllocate(BlockTable table, int count)
    {
        if (count > AvailableCount)
            return false;
        for (int i = 0; i < count; i++)
        {
            int block = _freeCount > 0 ? _free[--_freeCount] : _cache.EvictOldest();
            if (_references[block]++ != 0)
                throw new InvalidOperationException($"Block {block} was handed out with {_references[block] - 1} references.");
            UsedCount++;
            table.Add(block);
        }

        return true;
    }

    /// <summary>Adds a known block to one more table; from now on nobody writes to it.</summary>
    public void Share(BlockTable table, int block)
    {
        if (_references[block]++ == 0)
        {
            _cache.RemoveUnreferenced(block);
            UsedCount++;
        }

        table.Add(block);
    }

    /// <summary>Gives all blocks of a table back, last one first.</summary>
    public void Release(BlockTable table)
    {
        for (int i = table.Count - 1; i >= 0; i--)
            Release(table[i]);
        table.Clear();
    }

    /// <summary>Throws when the counts do not add up or do not match the tables.</summary>
    public void CheckIntegrity(IEnumerable<BlockTable> tables)
    {
        var expected = new int[Capacity];
        foreach (BlockTable table in tables)
        {
            foreach (int block in table.Blocks)
                expected[block]++;
        }

        var isFree = new bool[Capacity];
        foreach (int block in _free.AsSpan(0, _freeCount))
            isFree[block] = !isFree[block] ? true : throw new InvalidOperationException($"Block {block} is free twice.");
        for (int block = 0; block < Capacity; block++)
        {
            int states = (isFree[block] ? 1 : 0) + (_cache.IsUnreferenced(block) ? 1 : 0) + (_references[block] > 0 ? 1 : 0);
            if (expected[block] != _references[block] || states != 1)
                throw new InvalidOperationException($"Block {block}: {_references[block]} references, {expected[block]} in tables, {states} states.");
        }

        if (FreeCount + CachedCount + UsedCount != Capacity)
            throw new InvalidOperationException($"{FreeCount} free + {CachedCount} cached + {UsedCount} used is not {Capacity} blocks.");
    }

    private void Release(int block)
    {
        if (_references[block] <= 0)
            throw new InvalidOperationException($"Block {block} freed twice (references {_references[block]}).");
        if (--_references[block] > 0)
            return;
        UsedCount--;
        if (_cache.IsKnown(block))
            _cache.AddUnreferenced(block);
        else
            _free[_freeCount++] = block;
    }
}
