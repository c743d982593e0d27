namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// Remembers the ids of short words. Direct-mapped and of fixed size, so memory is bounded; entries are immutable and
/// replaced by one reference write, so many threads may read and add without a lock.
/// </summary>
internal sealed class WordCache
{
    /// <summary>Words up to this many UTF-16 units are kept.</summary>
    public const int LongestWord = 48;

    private const int Capacity = 1 << 15;

    private readonly Entry?[] _entries = new Entry?[Capacity];

    public bool TryGet(ReadOnlySpan<char> word, out ReadOnlySpan<int> ids)
    {
        int hash = string.GetHashCode(word);
        Entry? entry = Volatile.Read(ref _entries[hash & (Capacity - 1)]);
        if (entry is not null && entry.Hash == hash && word.SequenceEqual(entry.Word))
        {
            ids = entry.Ids;
            return true;
        }

        ids = default;
        return false;
    }

    public void Add(ReadOnlySpan<char> word, ReadOnlySpan<int> ids)
    {
        int hash = string.GetHashCode(word);
        Volatile.Write(ref _entries[hash & (Capacity - 1)], new Entry(hash, word.ToString(), ids.ToArray()));
    }

    private sealed record Entry(int Hash, string Word, int[] Ids);
}
