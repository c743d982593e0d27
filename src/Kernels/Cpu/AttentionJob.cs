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

    public byte* Keys;
    public byte* Values;
    public long KeyGroupBytes;
    public long KeyHeadBytes;
    public long ValueGroupBytes;
    public int ValueGroups;
    public long ValueHeadBytes;
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

    /// <summary>Tiles of rows of one sequence; every tile times every KV head is a chunk.</summary>
    public AttentionTile* Tiles;
    public byte* Scratch;
    public long ScratchStride;

    public readonly int Group => QueryHeads / KvHeads;

    /// <summary>Keys of a slot group of one head.</summary>
    public readonly byte* KeyGroup(int block, int head, int group) =>
        Keys + ((((long)block * KvHeads) + head) * KeyHeadBytes) + (group * KeyGroupBytes);

    /// <summary>Values of one head in a block.</summary>
    public readonly byte* ValueHead(int block, int head) => Values + ((((long)block * KvHeads) + head) * ValueHeadBytes);
}

/// <summary>Rows [First, First + Count) of one sequence.</summary>
internal readonly record struct AttentionTile(int Sequence, int First, int Count);
