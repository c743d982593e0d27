using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Cluster.Grains.Text.Tokenization;

/// <summary>
/// Token spellings by id and ids by spelling. All spellings stand in one byte array, so a vocabulary of 150 000
/// tokens costs about 4 MB and no string. Filled once, then read by many threads.
/// </summary>
internal sealed class TokenTable
{
    private const int Empty = -1;

    private readonly List<(int Start, int Length)> _spellings = [];
    private byte[] _bytes = new byte[1 << 16];
    private int _byteCount;
    private int[] _slots;
    private int _count;

    public TokenTable(int expectedCount = 1024)
    {
        _slots = new int[BitOperations.RoundUpToPowerOf2((uint)expectedCount * 2)];
        Array.Fill(_slots, Empty);
    }

    /// <summary>Highest id plus one; ids in between may be absent.</summary>
    public int IdLimit => _spellings.Count;

    /// <summary>How many spellings there are.</summary>
    public int Count => _count;

    public bool Contains(int id) => (uint)id < (uint)_spellings.Count && _spellings[id].Length >= 0;

    /// <summary>The spelling of an id, empty where the id is absent.</summary>
    public ReadOnlySpan<byte> this[int id] => Contains(id) ? Slice(id) : default;

    /// <summary>Adds a spelling; false where the spelling or the id is taken.</summary>
    public bool TryAdd(ReadOnlySpan<byte> spelling, int id)
    {
        if (Contains(id) || Find(spelling) >= 0)
            return false;
        while (_spellings.Count <= id)
            _spellings.Add((0, -1));
        if (_byteCount + spelling.Length > _bytes.Length)
            Array.Resize(ref _bytes, (int)Math.Min(Array.MaxLength, 2L * _bytes.Length + spelling.Length));
        spelling.CopyTo(_bytes.AsSpan(_byteCount));
        _spellings[id] = (_byteCount, spelling.Length);
        _byteCount += spelling.Length;
        if (++_count * 2 > _slots.Length)
            Grow();
        else
            Insert(id);
        return true;
    }

    /// <summary>The id of a spelling, or -1.</summary>
    public int Find(ReadOnlySpan<byte> spelling)
    {
        int[] slots = _slots;
        int mask = slots.Length - 1;
        for (int slot = (int)Hash(spelling) & mask; ; slot = (slot + 1) & mask)
        {
            int id = slots[slot];
            if (id == Empty || Slice(id).SequenceEqual(spelling))
                return id;
        }
    }

    private ReadOnlySpan<byte> Slice(int id)
    {
        (int start, int length) = _spellings[id];
        return _bytes.AsSpan(start, length);
    }

    private void Grow()
    {
        _slots = new int[_slots.Length * 2];
        Array.Fill(_slots, Empty);
        for (int id = 0; id < _spellings.Count; id++)
        {
            if (Contains(id))
                Insert(id);
        }
    }

    private void Insert(int id)
    {
        int mask = _slots.Length - 1;
        int slot = (int)Hash(Slice(id)) & mask;
        while (_slots[slot] != Empty)
            slot = (slot + 1) & mask;
        _slots[slot] = id;
    }

    [SuppressMessage("Style", "IDE0047", Justification = "Parentheses show the mixing steps.")]
    private static uint Hash(ReadOnlySpan<byte> bytes)
    {
        ulong hash = 0x9E3779B97F4A7C15UL ^ (ulong)bytes.Length;
        while (bytes.Length >= sizeof(ulong))
        {
            hash = Mix(hash ^ MemoryMarshal.Read<ulong>(bytes));
            bytes = bytes[sizeof(ulong)..];
        }

        ulong tail = 0;
        foreach (byte value in bytes)
            tail = (tail << 8) | value;
        return (uint)Mix(hash ^ tail);
    }

    private static ulong Mix(ulong value)
    {
        value *= 0xD6E8FEB86659FD93UL;
        return value ^ (value >> 32);
    }
}
