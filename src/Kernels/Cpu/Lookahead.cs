using System.Runtime.CompilerServices;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>
/// Which lines of a KV cache attention will read next. Scattered blocks restart the hardware's own prefetching every few
/// kilobytes, so the kernel asks for lines itself, in the order it will need them: chunk by chunk, inside a chunk phase by
/// phase (the keys, factors or values of a stretch of blocks, all heads of the batch), and of a phase four blocks side by
/// side, two lines of each in turn: four long streams, which memory answers fastest.
/// </summary>
internal unsafe struct Lookahead
{
    private const int Streams = 4;
    private const int LineBytes = 64;

    // Enough lines on their way to cover memory's latency while weights are computed, and to stay in the nearest caches.
    private const int MaxLinesAhead = 512;

    // Lines asked for before the first chunk.
    private const int FirstLines = 128;

    private readonly AttentionJob* _job;
    private readonly int* _blocks;
    private readonly int _firstHead;
    private readonly int _heads;
    private readonly int _stretchKeys;
    private readonly int _parts;
    private readonly bool _isHeadByHead;
    private readonly int _end;

    // Where the next lines are: chunk that starts with _key, phase of the chunk, first block and byte in it.
    private int _key;
    private int _phase;
    private int _part;
    private int _head;
    private int _block;
    private int _lastBlock;
    private long _offset;
    private long _phaseBytes;
    private byte* _next0;
    private byte* _next1;
    private byte* _next2;
    private byte* _next3;

    // Lines asked for and not yet read; of the chunk asked for, lines asked.
    private int _ahead;
    private int _askedOfChunk;

    public Lookahead(AttentionJob* job, int* blocks, int firstHead, int heads, int headsPerBatch, int stretchKeys, int end)
    {
        _job = job;
        _blocks = blocks;
        (_firstHead, _heads) = (firstHead, heads);
        _isHeadByHead = headsPerBatch < heads;
        _stretchKeys = stretchKeys;
        _parts = job->KvType == DType.Int8 ? 3 : 2;
        _end = end;
        _key = -1;
    }

    /// <summary>A chunk is computed whose first key is this.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Open(int key)
    {
        if (_key > key)
            return;
        if (_key == key)
        {
            _ahead = _askedOfChunk;
            return;
        }

        _ahead = 0;
        Aim(key, 0);
        while (_key < _end && _ahead < FirstLines)
            Ask();
    }

    /// <summary>Lets a tile ask for as many lines of each stream while it reads so many; false if enough was asked for.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public bool Take(ref KvTile tile, int linesOfStream, int linesRead)
    {
        _ahead -= linesRead;
        if (_ahead > MaxLinesAhead || _key >= _end)
            return false;
        tile.Next0 = _next0 + _offset;
        tile.Next1 = _next1 + _offset;
        tile.Next2 = _next2 + _offset;
        tile.Next3 = _next3 + _offset;
        Advance(linesOfStream);
        return true;
    }

    /// <summary>Asks for two lines of each stream at once.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public void Ask()
    {
        if (_ahead > MaxLinesAhead || _key >= _end)
            return;
        CacheHint.Read(_next0 + _offset);
        CacheHint.Read(_next0 + _offset + LineBytes);
        CacheHint.Read(_next1 + _offset);
        CacheHint.Read(_next1 + _offset + LineBytes);
        CacheHint.Read(_next2 + _offset);
        CacheHint.Read(_next2 + _offset + LineBytes);
        CacheHint.Read(_next3 + _offset);
        CacheHint.Read(_next3 + _offset + LineBytes);
        Advance(2);
    }

    private void Advance(int linesOfStream)
    {
        _ahead += Streams * linesOfStream;
        _askedOfChunk += Streams * linesOfStream;
        _offset += (long)linesOfStream * LineBytes;
        if (_offset >= _phaseBytes)
            Next();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Next()
    {
        _block += Streams;
        if (_block <= _lastBlock)
            AimBlocks();
        else
            Aim(_key, _phase + 1);
    }

    private void Aim(int key, int phase)
    {
        int chunkEnd = Math.Min(_end, (key / AttentionSizes.ChunkKeys * AttentionSizes.ChunkKeys) + AttentionSizes.ChunkKeys);
        int stretches = _isHeadByHead ? _heads : (chunkEnd - (key / _stretchKeys * _stretchKeys) + _stretchKeys - 1) / _stretchKeys;
        if (phase == _parts * stretches)
        {
            (key, phase, _askedOfChunk) = (chunkEnd, 0, 0);
            chunkEnd = Math.Min(_end, chunkEnd + AttentionSizes.ChunkKeys);
        }

        if (phase == 0)
            _askedOfChunk = 0;
        (_key, _phase) = (key, phase);
        if (key >= _end)
            return;
        int from = key, to = chunkEnd;
        if (!_isHeadByHead)
        {
            int start = ((key / _stretchKeys) + (phase % stretches)) * _stretchKeys;
            (from, to) = (Math.Max(key, start), Math.Min(chunkEnd, start + _stretchKeys));
        }

        (_block, _lastBlock) = (from / _job->BlockSize, (to - 1) / _job->BlockSize);
        _part = _isHeadByHead ? phase % _parts : phase / stretches;
        _head = _firstHead + (_isHeadByHead ? phase / _parts : 0);
        AimBlocks();
    }

    private void AimBlocks()
    {
        _offset = 0;
        ref readonly KvLayout layout = ref _job->Layout;
        bool isFactors = _parts == 3 && _part == 1;
        long headBytes = isFactors ? 2 * layout.FactorHeadBytes : _part == 0 ? layout.KeyHeadBytes : layout.ValueHeadBytes;
        long start = (isFactors ? layout.FactorOffset : _part == 0 ? 0 : layout.ValueOffset) + (_head * headBytes);
        _phaseBytes = _isHeadByHead ? headBytes : _heads * headBytes;
        byte* from = _job->Cache + start;
        _next0 = from + (_blocks[_block] * layout.BlockBytes);
        _next1 = from + (_blocks[Math.Min(_block + 1, _lastBlock)] * layout.BlockBytes);
        _next2 = from + (_blocks[Math.Min(_block + 2, _lastBlock)] * layout.BlockBytes);
        _next3 = from + (_blocks[Math.Min(_block + 3, _lastBlock)] * layout.BlockBytes);
    }
}
