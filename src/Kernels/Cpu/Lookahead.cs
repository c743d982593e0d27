using System.Runtime.CompilerServices;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Which lines of a KV cache attention will read next. Scattered blocks restart the hardware's own prefetching every few
/// kilobytes, so the kernel asks for lines itself, in the order it will need them: chunk by chunk, inside a chunk region by
/// region (the keys or the values of a head), and of a region four blocks side by side, which keeps four streams of memory open.
/// </summary>
internal unsafe struct Lookahead
{
    private const int Streams = 4;
    private const int MaxRegionsAhead = 3;
    private const int LineBytes = 64;

    private readonly AttentionJob* _job;
    private readonly int* _blocks;
    private readonly int _firstHead;
    private readonly int _heads;
    private readonly bool _isWholeBatch;
    private readonly int _end;

    // What is computed now, and where the next lines are: keys from _key on, region of the chunk, block and byte in it.
    private int _openKey;
    private int _region;
    private int _key;
    private int _askRegion;
    private int _block;
    private long _offset;
    private long _regionBytes;
    private byte* _next0;
    private byte* _next1;
    private byte* _next2;
    private byte* _next3;

    public Lookahead(AttentionJob* job, int* blocks, int firstHead, int heads, int headsPerBatch, int end)
    {
        _job = job;
        _blocks = blocks;
        (_firstHead, _heads) = (firstHead, heads);
        _isWholeBatch = headsPerBatch == heads;
        _end = end;
        _key = -1;
    }

    private readonly int Regions => 2 * _heads;

    /// <summary>A chunk is computed whose first key is this.</summary>
    public void Open(int key) => (_openKey, _region) = (key, 0);

    /// <summary>A region of the open chunk is computed: keys or values of a head in the order of computation.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Enter(int region)
    {
        _region = region;
        if (_key < _openKey || (_key == _openKey && _askRegion <= region))
            Aim(_openKey, region + 1);
    }

    /// <summary>Puts the next lines into a piece; false if enough was asked for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool Take(ref KvPiece piece)
    {
        if (_key >= _end || Distance() > MaxRegionsAhead)
            return false;
        piece.Next0 = _next0 + _offset;
        piece.Next1 = _next1 + _offset;
        piece.Next2 = _next2 + _offset;
        piece.Next3 = _next3 + _offset;
        Advance(piece.Pairs * (_job->KvType == DType.Float32 ? 2 : 1));
        return true;
    }

    /// <summary>Asks for a few lines at once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Ask()
    {
        const int Lines = 4;
        if (_key >= _end || Distance() > MaxRegionsAhead)
            return;
        for (int line = 0; line < Lines; line++)
        {
            CacheHint.Read(_next0 + _offset + (line * LineBytes));
            CacheHint.Read(_next1 + _offset + (line * LineBytes));
            CacheHint.Read(_next2 + _offset + (line * LineBytes));
            CacheHint.Read(_next3 + _offset + (line * LineBytes));
        }

        Advance(Lines);
    }

    private readonly int Distance() =>
        _askRegion - _region + (((_key / AttentionSizes.ChunkKeys) - (_openKey / AttentionSizes.ChunkKeys)) * Regions);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Advance(int lines)
    {
        _offset += (long)lines * LineBytes;
        if (_offset < _regionBytes)
            return;
        _offset = 0;
        _block += Streams;
        if (_block * _job->BlockSize < ChunkEnd(_key))
            AimBlocks();
        else
            Aim(_key, _askRegion + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void Aim(int key, int region)
    {
        if (region == Regions)
            (key, region) = (ChunkEnd(key), 0);
        (_key, _askRegion) = (key, region);
        if (key >= _end)
            return;
        _offset = 0;
        _block = key / _job->BlockSize;
        AimBlocks();
    }

    private readonly int ChunkEnd(int key) =>
        Math.Min(_end, (key / AttentionSizes.ChunkKeys * AttentionSizes.ChunkKeys) + AttentionSizes.ChunkKeys);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void AimBlocks()
    {
        int last = (ChunkEnd(_key) - 1) / _job->BlockSize;
        bool isKeys = _isWholeBatch ? _askRegion < _heads : _askRegion % 2 == 0;
        int head = _firstHead + (_isWholeBatch ? _askRegion % _heads : _askRegion / 2);
        _regionBytes = isKeys ? _job->Layout.KeyHeadBytes : _job->Layout.ValueHeadBytes;
        _next0 = Region(_blocks[_block], head, isKeys);
        _next1 = Region(_blocks[Math.Min(_block + 1, last)], head, isKeys);
        _next2 = Region(_blocks[Math.Min(_block + 2, last)], head, isKeys);
        _next3 = Region(_blocks[Math.Min(_block + 3, last)], head, isKeys);
    }

    private readonly byte* Region(int block, int head, bool isKeys) => isKeys ? _job->KeyHead(block, head) : _job->ValueHead(block, head);
}
