using Cluster.Kernels.Models;

namespace Cluster.Kernels.Execution;

/// <summary>
/// A view of a checkpoint tensor (or of a row or column range of it) in host memory, usually a mapped file. Two
/// dimensional and row-major: a vector is one row. Valid as long as the reader that made it.
/// </summary>
/// <param name="Pointer">First element.</param>
/// <param name="Type">Element type.</param>
/// <param name="Rows">Output features of a linear weight, or 1 for a vector.</param>
/// <param name="Columns">Input features of a linear weight, or the length of a vector.</param>
/// <param name="RowStride">
/// Distance between rows, in elements (whole blocks of a block type); larger than <paramref name="Columns"/> for a column range or for every other row.
/// </param>
/// <param name="Name">Name in the checkpoint, for messages.</param>
public readonly unsafe record struct HostTensor(nint Pointer, DType Type, int Rows, int Columns, long RowStride, string Name)
{
    /// <summary>File that is mapped there, or null.</summary>
    internal MappedFile? File { get; init; }

    /// <summary>Elements in all.</summary>
    public long Length => (long)Rows * Columns;

    /// <summary>Rows [<paramref name="start"/>, start + count).</summary>
    public HostTensor RowRange(int start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)start + count, Rows);
        return this with { Pointer = RowAddress(start), Rows = count };
    }

    /// <summary>Columns [<paramref name="start"/>, start + count) of every row; of a block type, whole blocks.</summary>
    /// <exception cref="ArgumentException">The range starts or ends inside a block.</exception>
    public HostTensor ColumnRange(int start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)start + count, Columns);
        int block = Type.BlockElements();
        if (start % block != 0 || count % block != 0)
            throw new ArgumentException($"Tensor {Name} of type {Type} is cut between blocks of {block} columns only, not at [{start}, {start + count}).");
        return this with { Pointer = Pointer + (nint)Type.BytesOf(start), Columns = count };
    }

    /// <summary>Address of the first element of a row.</summary>
    public nint RowAddress(int row) => Pointer + (nint)(row * Type.BytesOf(RowStride));

    /// <summary>Copies one row, widened to single precision, into <paramref name="destination"/> of at least <see cref="Columns"/> elements.</summary>
    public void ReadRow(int row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows);
        nint start = RowAddress(row);
        switch (Type)
        {
            case DType.Float32:
                new ReadOnlySpan<float>((void*)start, Columns).CopyTo(destination);
                break;
            case DType.BFloat16:
                var brain = new ReadOnlySpan<ushort>((void*)start, Columns);
                for (int i = 0; i < brain.Length; i++)
                    destination[i] = BitConverter.UInt32BitsToSingle((uint)brain[i] << 16);
                break;
            case DType.Float16:
                var half = new ReadOnlySpan<Half>((void*)start, Columns);
                for (int i = 0; i < half.Length; i++)
                    destination[i] = (float)half[i];
                break;
            case DType.Q8_0 or DType.Q4_0 or DType.Q4_K or DType.Q6_K:
                BlockReader.Read(Type, new ReadOnlySpan<byte>((void*)start, (int)Type.BytesOf(Columns)), destination[..Columns]);
                break;
            default:
                throw new InvalidOperationException($"Tensor {Name} of type {Type} has no floating-point rows.");
        }
    }
}
