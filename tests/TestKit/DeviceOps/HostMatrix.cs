using System.Runtime.InteropServices;
using Cluster.Kernels.Execution;

namespace Cluster.TestKit.DeviceOps;

/// <summary>A small checkpoint tensor in native memory, with its values as double for an oracle.</summary>
internal sealed unsafe class HostMatrix : IDisposable
{
    private readonly byte* _memory;

    public HostMatrix(int rows, int columns, DType type, Func<int, int, float> value)
    {
        _memory = (byte*)NativeMemory.AllocZeroed((nuint)((long)rows * columns * type.ByteSize()));
        View = new HostTensor((nint)_memory, type, rows, columns, columns, "test");
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++)
                Store((long)row * columns + column, value(row, column));
    }

    /// <summary>Normally distributed values.</summary>
    public static HostMatrix Random(int rows, int columns, DType type, Random random, float scale = 1) =>
        new(rows, columns, type, (_, _) => scale * Normal(random));

    /// <summary>What device ops are given.</summary>
    public HostTensor View { get; }

    /// <summary>The stored values, after rounding to the stored type.</summary>
    public static double[,] Values(HostTensor view)
    {
        var values = new double[view.Rows, view.Columns];
        var row = new float[view.Columns];
        for (int i = 0; i < view.Rows; i++)
        {
            view.ReadRow(i, row);
            for (int j = 0; j < view.Columns; j++)
                values[i, j] = row[j];
        }
        return values;
    }

    /// <summary>A standard normal value (Box-Muller).</summary>
    public static float Normal(Random random) =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));

    public void Dispose() => NativeMemory.Free(_memory);

    private void Store(long index, float value)
    {
        switch (View.Type)
        {
            case DType.Float32:
                ((float*)_memory)[index] = value;
                break;
            case DType.BFloat16:
                ((ushort*)_memory)[index] = (ushort)(BitConverter.SingleToUInt32Bits(OracleOps.RoundToBFloat16(value)) >> 16);
                break;
            case DType.Float16:
                ((Half*)_memory)[index] = (Half)value;
                break;
            default:
                throw new ArgumentException($"No test matrices of {View.Type}.");
        }
    }
}
