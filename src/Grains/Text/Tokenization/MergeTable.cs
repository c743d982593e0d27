using System.Numerics;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// The merges of a byte pair encoding: (left id, right id) to (rank, merged id). Open addressing over two flat
/// arrays. Filled once, then read by many threads.
/// </summary>
internal sealed class MergeTable
{
    /// <summary>What <see cref="Find"/> gives where the pair does not merge: worse than every rank.</summary>
    public const ulong None = ulong.MaxValue;

    private const ulong EmptyKey = ulong.MaxValue;

    private ulong[] _keys;
    private ulong[] _values;
    private int _count;

    public MergeTable(int expectedCount = 1024)
    {
        int capacity = (int)BitOperations.RoundUpToPowerOf2((uint)expectedCount * 2);
        _keys = new ulong[capacity];
        _values = new ulong[capacity];
        Array.Fill(_keys, EmptyKey);
    }

    public int Count => _count;

    /// <summary>Adds a merge; the last of two equal pairs stands, as in Hugging Face's library.</summary>
    public void Add(int left, int right, int rank, int merged)
    {
        if ((_count + 1) * 2 > _keys.Length)
            Grow();
        if (Insert(Key(left, right), ((ulong)(uint)rank << 32) | (uint)merged))
            _count++;
    }

    /// <summary>Rank in the high half, merged id in the low half; <see cref="None"/> where the pair does not merge.</summary>
    public ulong Find(int left, int right)
    {
        ulong key = Key(left, right);
        ulong[] keys = _keys;
        int mask = keys.Length - 1;
        for (int slot = Slot(key) & mask; ; slot = (slot + 1) & mask)
        {
            ulong found = keys[slot];
            if (found == key)
                return _values[slot];
            if (found == EmptyKey)
                return None;
        }
    }

    private bool Insert(ulong key, ulong value)
    {
        int mask = _keys.Length - 1;
        int slot = Slot(key) & mask;
        while (_keys[slot] != EmptyKey && _keys[slot] != key)
            slot = (slot + 1) & mask;
        bool isNew = _keys[slot] == EmptyKey;
        _keys[slot] = key;
        _values[slot] = value;
        return isNew;
    }

    private void Grow()
    {
        (ulong[] keys, ulong[] values) = (_keys, _values);
        _keys = new ulong[keys.Length * 2];
        _values = new ulong[keys.Length * 2];
        Array.Fill(_keys, EmptyKey);
        for (int i = 0; i < keys.Length; i++)
        {
            if (keys[i] != EmptyKey)
                Insert(keys[i], values[i]);
        }
    }

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;

    private static int Slot(ulong key)
    {
        key *= 0x9E3779B97F4A7C15UL;
        return (int)(key >> 33);
    }
}
