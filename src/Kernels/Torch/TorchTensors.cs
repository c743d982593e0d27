using System.Runtime.InteropServices;
using Cluster.Kernels.Execution;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.Kernels.Torch;

/// <summary>Tensors from host memory; all that is returned lives until it is disposed, whatever scope is open.</summary>
internal static class TorchTensors
{
    public static ScalarType ScalarTypeOf(DType type) => type switch
    {
        DType.Float32 => ScalarType.Float32,
        DType.BFloat16 => ScalarType.BFloat16,
        DType.Float16 => ScalarType.Float16,
        DType.Int32 => ScalarType.Int32,
        _ => throw new ArgumentException($"libtorch has no type for {type}."),
    };

    /// <summary>Checkpoint tensors stacked by rows, rounded to a stored type where one is asked for, widened to fp32.</summary>
    /// <param name="parts">Tensors of equal width.</param>
    /// <param name="type">Stored type; null keeps each part's own.</param>
    /// <param name="device">Where the result lies.</param>
    /// <param name="shape">Shape of the result.</param>
    public static Tensor FromHost(IReadOnlyList<HostTensor> parts, DType? type, Device device, params long[] shape)
    {
        using DisposeScope scope = NewDisposeScope();
        List<Tensor> stacked = [];
        foreach (HostTensor part in parts)
        {
            Tensor rows = empty(part.Rows, part.Columns, ScalarType.Float32);
            for (int row = 0; row < part.Rows; row++)
                part.ReadRow(row, Floats(rows).Slice(row * part.Columns, part.Columns));
            stacked.Add(type is { } wanted && wanted != part.Type ? Round(rows, wanted) : rows);
        }
        Tensor whole = stacked.Count == 1 ? stacked[0] : cat(stacked);
        return whole.reshape(shape).to(device).alias().DetachFromDisposeScope();
    }

    // Rounds to a stored type and back.
    private static Tensor Round(Tensor rows, DType type)
    {
        if (!type.IsQuantized())
            return rows.to(ScalarTypeOf(type)).to(ScalarType.Float32);
        int columns = (int)rows.shape[1];
        var blocks = new byte[type.BytesOf(columns)];
        for (Span<float> values = Floats(rows); values.Length > 0; values = values[columns..])
        {
            BlockQuantizer.Quantize(type, values[..columns], blocks);
            BlockReader.Read(type, blocks, values[..columns]);
        }
        return rows;
    }

    /// <summary>A fp32 matrix.</summary>
    public static Tensor FromValues(ReadOnlySpan<float> values, long rows, long columns, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor host = empty(rows, columns, ScalarType.Float32);
        values.CopyTo(Floats(host));
        return host.to(device).alias().DetachFromDisposeScope();
    }

    /// <summary>int64 indices.</summary>
    public static Tensor Indices(ReadOnlySpan<int> values, Device device)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor host = empty(values.Length, ScalarType.Int64);
        Span<long> wide = MemoryMarshal.Cast<byte, long>(host.bytes);
        for (int i = 0; i < values.Length; i++)
            wide[i] = values[i];
        return host.to(device).alias().DetachFromDisposeScope();
    }

    /// <summary>The values of a contiguous fp32 tensor in host memory.</summary>
    public static Span<float> Floats(Tensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.bytes);

    // TorchSharp 0.107 makes a temporary Scalar for every number (also the hidden 1 of a + b) and passes its bare handle: the collector may
    // free it while the native call still reads it (seen as "Expected false to be true" from toBFloat16). These keep it alive.

    private static readonly Scalar One = 1;
    private static readonly Scalar MinusOne = -1;
    private static readonly Scalar Nought = 0;
    private static readonly Scalar MinusInfinity = float.NegativeInfinity;

    /// <summary>a + b.</summary>
    public static Tensor Plus(this Tensor a, Tensor b) => a.add(b, One);

    /// <summary>a - b.</summary>
    public static Tensor Minus(this Tensor a, Tensor b) => a.add(b, MinusOne);

    /// <summary>target += b.</summary>
    public static void Increase(this Tensor target, Tensor b) => target.add_(b, One);

    /// <summary>a + number.</summary>
    public static Tensor Plus(this Tensor a, float number) => Hold(number, scalar => a.add(scalar, One));

    /// <summary>a * number.</summary>
    public static Tensor Times(this Tensor a, float number) => Hold(number, scalar => a.mul(scalar));

    /// <summary>max(a, number).</summary>
    public static Tensor AtLeast(this Tensor a, float number) => Hold(number, scalar => a.clamp_min(scalar));

    /// <summary>target[indices] += rows.</summary>
    public static void IncreaseRows(this Tensor target, Tensor indices, Tensor rows) => target.index_add_(0, indices, rows, One);

    /// <summary>Fills with zeros.</summary>
    public static void Clear(this Tensor target) => target.fill_(Nought);

    /// <summary>Fills with -infinity.</summary>
    public static void FillMinusInfinity(this Tensor target) => target.fill_(MinusInfinity);

    private static Tensor Hold(float number, Func<Scalar, Tensor> use)
    {
        Scalar scalar = number;
        Tensor result = use(scalar);
        GC.KeepAlive(scalar);
        return result;
    }
}
