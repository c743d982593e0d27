namespace Cluster.Kernels.Execution;

/// <summary>
/// A row-major matrix in the memory of one device. Ops say how many of its rows they use, so one buffer of the largest
/// step serves every step without an allocation.
/// </summary>
public abstract class DeviceBuffer(int rows, int columns, DType type) : IDisposable
{
    /// <summary>Rows it has room for.</summary>
    public int Rows { get; } = rows;

    /// <summary>Elements per row.</summary>
    public int Columns { get; } = columns;

    /// <summary>Element type.</summary>
    public DType Type { get; } = type;

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>Packed weights that several models of a process may own together: the last owner's disposal frees them.</summary>
public abstract class PackedWeight : IDisposable
{
    private int _owners = 1;

    /// <summary>Whether nobody owns it any more.</summary>
    internal bool IsFree => Volatile.Read(ref _owners) <= 0;

    /// <summary>Makes the caller one more owner; false if it has been freed.</summary>
    internal bool TryShare()
    {
        int owners = Volatile.Read(ref _owners);
        while (owners > 0)
        {
            int seen = Interlocked.CompareExchange(ref _owners, owners + 1, owners);
            if (seen == owners)
                return true;
            owners = seen;
        }
        return false;
    }

    /// <summary>Gives up this owner's part; once per owner.</summary>
    public void Dispose()
    {
        if (Interlocked.Decrement(ref _owners) == 0)
            Free();
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees the memory.</summary>
    protected abstract void Free();
}

/// <summary>Weights [outFeatures, inFeatures] of a linear layer, packed the way the device likes them.</summary>
public abstract class LinearWeight(int outFeatures, int inFeatures) : PackedWeight
{
    /// <summary>Columns of the output.</summary>
    public int OutFeatures { get; } = outFeatures;

    /// <summary>Columns of the input.</summary>
    public int InFeatures { get; } = inFeatures;
}

/// <summary>Gate, up and down weights of all experts of one layer that this device holds.</summary>
public abstract class ExpertWeights(int experts, int hidden, int intermediate) : PackedWeight
{
    /// <summary>Number of experts.</summary>
    public int Experts { get; } = experts;

    /// <summary>Columns of input and output.</summary>
    public int Hidden { get; } = hidden;

    /// <summary>Columns between gate/up and down.</summary>
    public int Intermediate { get; } = intermediate;
}

/// <summary>A small fp32 vector on the device: norm weights, biases, rotary tables.</summary>
public abstract class VectorWeight(int length) : IDisposable
{
    /// <summary>Elements.</summary>
    public int Length { get; } = length;

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>Token embedding table [vocabulary, hidden].</summary>
public abstract class EmbeddingTable(int vocabulary, int hidden) : IDisposable
{
    /// <summary>Rows.</summary>
    public int Vocabulary { get; } = vocabulary;

    /// <summary>Columns.</summary>
    public int Hidden { get; } = hidden;

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>Cosine and sine of every position, [positions, rotaryDimensions / 2] each.</summary>
public abstract class RotaryTable : IDisposable
{
    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>Paged keys and values of the layers of one shard: [layers, blocks, blockSize, kvHeads, headDim] twice.</summary>
public abstract class KvCache(KvCacheShape shape) : IDisposable
{
    /// <summary>Sizes.</summary>
    public KvCacheShape Shape { get; } = shape;

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>The arrays of one <see cref="ForwardBatch"/> where the device can read them.</summary>
public abstract class DeviceBatch
{
    /// <summary>The batch itself.</summary>
    public abstract ForwardBatch Batch { get; }
}

/// <summary>Chosen experts and their factors for the rows of one step, [rows, topK] each.</summary>
public abstract class ExpertRouting(int maxRows, int topK) : IDisposable
{
    /// <summary>Rows it has room for.</summary>
    public int MaxRows { get; } = maxRows;

    /// <summary>Experts per row.</summary>
    public int TopK { get; } = topK;

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>Sizes of a <see cref="KvCache"/>.</summary>
/// <param name="Layers">Layers of the shard.</param>
/// <param name="Blocks">Blocks of every layer.</param>
/// <param name="BlockSize">Tokens per block.</param>
/// <param name="KvHeads">KV heads of the shard.</param>
/// <param name="HeadDim">Elements per head.</param>
/// <param name="Type">Stored element type; Int8 has an fp32 factor per key and per value of a head beside it.</param>
public sealed record KvCacheShape(int Layers, int Blocks, int BlockSize, int KvHeads, int HeadDim, DType Type)
{
    /// <summary>Bytes of one block over all layers, keys and values.</summary>
    public long BlockBytes => 2L * Layers * BlockSize * KvHeads * (((long)HeadDim * Type.ByteSize()) + (Type == DType.Int8 ? sizeof(float) : 0));
}
