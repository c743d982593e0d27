namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// Merges a long word in O(n log n): a linked list of symbols and a priority queue of pairs, ordered by rank, then by
/// position. Entries that a later merge has made stale are recognised by their pair and skipped.
/// </summary>
internal static class LongWordMerger
{
    private const int Gone = -1;
    private const int End = -1;
    private const ulong RankBits = 0xFFFFFFFF_00000000UL;

    /// <summary>Merges in place and returns the symbols that are left.</summary>
    public static Span<int> Merge(Span<int> symbols, MergeTable merges)
    {
        int count = symbols.Length;
        int[] next = new int[count];
        int[] previous = new int[count];
        var queue = new PriorityQueue<ulong, ulong>(count);
        for (int i = 0; i < count; i++)
        {
            next[i] = i + 1 < count ? i + 1 : End;
            previous[i] = i - 1;
            if (i + 1 < count)
                Offer(queue, merges, symbols, i, i + 1);
        }

        while (queue.TryDequeue(out ulong pair, out ulong order))
        {
            int left = (int)(uint)order;
            int right = symbols[left] == Gone ? End : next[left];
            if (right == End || merges.Find(symbols[left], symbols[right]) != pair)
                continue;
            symbols[left] = (int)(uint)pair;
            symbols[right] = Gone;
            next[left] = next[right];
            if (next[left] != End)
            {
                previous[next[left]] = left;
                Offer(queue, merges, symbols, left, next[left]);
            }

            if (previous[left] >= 0)
                Offer(queue, merges, symbols, previous[left], left);
        }

        return Compact(symbols);
    }

    private static void Offer(
        PriorityQueue<ulong, ulong> queue, MergeTable merges, Span<int> symbols, int left, int right)
    {
        ulong pair = merges.Find(symbols[left], symbols[right]);
        if (pair != MergeTable.None)
            queue.Enqueue(pair, (pair & RankBits) | (uint)left);
    }

    private static Span<int> Compact(Span<int> symbols)
    {
        int kept = 0;
        foreach (int symbol in symbols)
        {
            if (symbol != Gone)
                symbols[kept++] = symbol;
        }

        return symbols[..kept];
    }
}
