using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

/// <summary>What rotate, store and attention read of a step.</summary>
internal unsafe struct AttentionJob
{
    public float* Qkv;
    public long QkvStride;
    public int QueryHeads;
    public int KvHeads;
    public int HeadDim;

    /// <summary>First block of the layer.</summary>
    public byte* Cache;
    public KvLayout Layout;
    public int BlockSize;
    public DType KvType;

    public int Rows;
    public int RowsPerChunk;
    public int* Positions;
    public int* Slots;
    public int* BlockTable;
    public int* BlockStarts;

    public KeyRange Range;
    public float* Output;
    public long OutputStride;
    public float* LogSumExp;
    public long LogSumExpStride;

    public float* Cosines;
    public float* Sines;
    public int RotaryHalf;
    public float* QueryNorm;
    public float* KeyNorm;
    public float Epsilon;

    /// <summary>How attention is cut into tasks.</summary>
    public AttentionCut Cut;

    public byte* Scratch;
    public long ScratchStride;

    /// <summary>Query heads of a KV head, and those of the first one that come before the first query head here.</summary>
    public int Group;
    public int GroupOffset;

    /// <summary>Query heads of all KV heads: of the first and last KV head some may be on other ranks, and are computed for nothing.</summary>
    public readonly int GroupedHeads => KvHeads * Group;

    /// <summary>Groups of heads that tasks share.</summary>
    public readonly int HeadGroups => (KvHeads + Cut.HeadsPerTask - 1) / Cut.HeadsPerTask;

    /// <summary>Keys of a head in a block.</summary>
    public readonly byte* KeyHead(int block, int head) => Cache + (block * Layout.BlockBytes) + (head * Layout.KeyHeadBytes);

    /// <summary>Values of a head in a block.</summary>
    public readonly byte* ValueHead(int block, int head) => Cache + (block * Layout.BlockBytes) + Layout.ValueOffset + (head * Layout.ValueHeadBytes);

    /// <summary>Factors of a head's keys in a block; those of its values follow after <see cref="KvLayout.FactorHeadBytes"/>.</summary>
    public readonly float* Factors(int block, int head) =>
        (float*)(Cache + (block * Layout.BlockBytes) + Layout.FactorOffset + (2 * head * Layout.FactorHeadBytes));
}

/// <summary>Rows [First, First + Count) of one sequence.</summary>
internal readonly record struct AttentionTile(int Sequence, int First, int Count);

/// <summary>Tasks of attention: tiles of rows times groups of heads, if need be times segments of keys. No bit depends on the cut.</summary>
internal unsafe struct AttentionCut
{
    /// <summary>Tiles of rows of one sequence.</summary>
    public AttentionTile* Tiles;
    public int TileCount;

    /// <summary>KV heads of a task, so that a thread reads whole blocks from front to back when memory is the limit.</summary>
    public int HeadsPerTask;

    /// <summary>Segments that are tasks of their own; 0: a task does all segments of its rows.</summary>
    public int Segments;

    /// <summary>States of segments, [segments, rows, query heads] of <c>AttentionKernel.StateFloats</c>; only with segments.</summary>
    public float* States;
}
