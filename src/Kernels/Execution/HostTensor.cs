namespace Cluster.Kernels.Execution;

/// <summary>
/// A view of a checkpoint tensor (or of a row or column range of it) in host memory, usually a mapped file. Two
/// dimensional and row-major: a vector is one row. Valid as long as the reader that made it.
/// </summary>
/// <param name="Pointer">First element.</param>
/// <param name="Type">Element type.</param>
/// <param name="Rows">Output features of a linear weight, or 1 for a vector.</param>
/// <param name="Columns">Input features of a linear weight, or the length of a vector.</param>
/// <param name="RowStride">Distance between rows, in elements; larger than <paramref name="Columns"/> for a column range.</param>
/// <param name="Name">Name in the checkpoint, for messages.</param>
public readonly unsafe record struct HostTensor(nint Pointer, DType Type, int Rows, int Columns, long RowStride, string Name)
{
    /// <summary>Elements in all.</summary>
    public long Length => (long)Rows * Columns;

    /// <summary>Rows [<paramref name="start"/>, start + count).</summary>
    public HostTensor RowRange(int start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)start + count, Rows);
        return this with { Pointer = Pointer + (nint)(start * RowStride * Type.ByteSize()), Rows = count };
    }

    /// <summary>Columns [<paramref name="start"/>, start + count) of every row.</summary>
    public HostTensor ColumnRange(int start, int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((long)start + count, Columns);
        return this with { Pointer = Pointer + (nint)start * Type.ByteSize(), Columns = count };
    }

    /// <summary>Copies one row, widened to single precision, into <paramref name="destination"/> of at least <see cref="Columns"/> elements.</summary>
    public void ReadRow(int row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows);
        nint start = Pointer + (nint)(row * RowStride * Type.ByteSize());
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
            default:
                throw new InvalidOperationException($"Tensor {Name} of type {Type} has no floating-point rows.");
        }
    }
}
