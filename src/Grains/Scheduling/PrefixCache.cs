namespace Cluster.Grains.Scheduling;

/// <summary>
/// Finds committed full blocks by what they hold. A block is known from its commit until it is evicted; while nobody
/// references it, it waits in a list from oldest to newest use, from which the pool takes when it has no free block left.
/// A sequence gives its blocks back last one first, so a block is always evicted before its parent.
/// </summary>
internal sealed class PrefixCache
{
    private const int None = -1;

    private readonly Dictionary<BlockHash, int> _blocks = [];
    private readonly BlockHash?[] _hashes;
    private readonly int[] _newer;
    private readonly int[] _older;
    private readonly bool[] _listed;
    private readonly SchedulerOptions _options;
    private readonly BlockHash _root;
    private int _oldest = None;
    private int _newest = None;

    /// <summary>An empty cache over the blocks [0, BlockCount).</summary>
    public PrefixCache(SchedulerOptions options)
    {
        _options = options;
        _root = BlockHash.Root(options.CacheSalt);
        _hashes = new BlockHash?[options.BlockCount];
        _newer = new int[options.BlockCount];
        _older = new int[options.BlockCount];
        _listed = new bool[options.BlockCount];
    }

    /// <summary>Known blocks that nobody references.</summary>
    public int UnreferencedCount { get; private set; }

    /// <summary>Known blocks.</summary>
    public int KnownCount => _blocks.Count;

    /// <summary>Whether a block is known by its content.</summary>
    public bool IsKnown(int block) => _hashes[block] is not null;

    /// <summary>Whether a block waits for reuse or eviction.</summary>
    public bool IsUnreferenced(int block) => _listed[block];

    /// <summary>Collects the longest run of known blocks that <paramref name="sequence"/> begins with; its last token is always left to compute.</summary>
    public void Match(Sequence sequence, List<int> blocks)
    {
        blocks.Clear();
        if (!_options.EnablePrefixCache || sequence.BypassCache)
            return;
        int limit = (sequence.Length - 1) / _options.BlockSize;
        for (int i = 0; i < limit && _blocks.TryGetValue(HashOf(sequence, i), out int block); i++)
            blocks.Add(block);
    }

    /// <summary>Makes the full blocks among a sequence's computed tokens known, from block <paramref name="first"/> on.</summary>
    /// <returns>The number of full blocks.</returns>
    public int Register(Sequence sequence, int first)
    {
        int full = sequence.ComputedTokens / _options.BlockSize;
        if (!_options.EnablePrefixCache)
            return full;
        for (int i = first; i < full; i++)
        {
            int block = sequence.Blocks[i];
            BlockHash hash = HashOf(sequence, i);
            if (_hashes[block] is null && _blocks.TryAdd(hash, block))
                _hashes[block] = hash;
        }

        return full;
    }

    /// <summary>A known block lost its last reference: it becomes the newest to evict.</summary>
    public void AddUnreferenced(int block)
    {
        if (_listed[block] || _hashes[block] is null)
            throw new InvalidOperationException($"Block {block} cannot wait in the cache (listed {_listed[block]}, known {IsKnown(block)}).");
        _listed[block] = true;
        _older[block] = _newest;
        _newer[block] = None;
        if (_newest == None)
            _oldest = block;
        else
            _newer[_newest] = block;
        _newest = block;
        UnreferencedCount++;
    }

    /// <summary>An unreferenced block is used again.</summary>
    public void RemoveUnreferenced(int block)
    {
        if (!_listed[block])
            throw new InvalidOperationException($"Block {block} does not wait in the cache.");
        _listed[block] = false;
        if (_older[block] == None)
            _oldest = _newer[block];
        else
            _newer[_older[block]] = _newer[block];
        if (_newer[block] == None)
            _newest = _older[block];
        else
            _older[_newer[block]] = _older[block];
        UnreferencedCount--;
    }

    /// <summary>Forgets the block that was unused for longest and hands it out.</summary>
    public int EvictOldest()
    {
        int block = _oldest;
        if (block == None)
            throw new InvalidOperationException("The cache has no unreferenced block to evict.");
        RemoveUnreferenced(block);
        _blocks.Remove(_hashes[block]!.Value);
        _hashes[block] = null;
        return block;
    }

    private BlockHash HashOf(Sequence sequence, int index)
    {
        List<BlockHash> chain = sequence.BlockHashes;
        int size = _options.BlockSize;
        while (chain.Count <= index)
        {
            int start = chain.Count * size;
            int generated = _options.DistinguishRoles ? Math.Clamp(start + size - sequence.PromptLength, 0, size) : 0;
            chain.Add(BlockHash.Next(chain.Count == 0 ? _root : chain[^1], sequence.Tokens.Slice(start, size), generated));
        }

        return chain[index];
    }
}
