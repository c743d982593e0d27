using Cluster.Kernels.Execution;
using Xunit;

namespace Cluster.TestKit.DeviceOps;

/// <summary>
/// What every implementation of <see cref="IDeviceOps"/> must do, op by op, against a naive double-precision oracle.
/// One subclass per implementation; the ops are opened and used on the test's own thread.
/// </summary>
public abstract partial class DeviceOpsConformance : IDisposable
{
    private readonly Random _random = new(13);
    private readonly List<IDisposable> _owned = [];
    private IDeviceOps? _ops;

    /// <summary>Opens the ops under test, or skips the test with a reason.</summary>
    protected abstract IDeviceOps Open();

    /// <summary>Largest error allowed, relative to the largest value of the expected row (at least 1).</summary>
    protected virtual double Tolerance => 5e-6;

    /// <summary>The ops under test.</summary>
    protected IDeviceOps Ops => _ops ??= Open();

    /// <inheritdoc/>
    public void Dispose()
    {
        for (int i = _owned.Count - 1; i >= 0; i--)
            _owned[i].Dispose();
        _ops?.Dispose();
        GC.SuppressFinalize(this);
    }

    private T Own<T>(T resource) where T : IDisposable
    {
        _owned.Add(resource);
        return resource;
    }

    private HostMatrix Matrix(int rows, int columns, DType type = DType.Float32, float scale = 1) =>
        Own(HostMatrix.Random(rows, columns, type, _random, scale));

    private VectorWeight Vector(HostMatrix source) => Own(Ops.LoadVector(source.View));

    private DeviceBuffer Buffer(int rows, int columns) => Own(Ops.Allocate(rows, columns));

    /// <summary>A buffer of random values, one spare row longer than asked, and the values.</summary>
    private (DeviceBuffer Buffer, double[][] Rows) Filled(int rows, int columns, float scale = 1)
    {
        DeviceBuffer buffer = Buffer(rows + 1, columns);
        var values = new double[rows][];
        for (int row = 0; row < rows; row++)
        {
            float[] floats = [.. Enumerable.Range(0, columns).Select(_ => scale * HostMatrix.Normal(_random))];
            Ops.WriteRow(buffer, row, floats);
            values[row] = [.. floats.Select(value => (double)value)];
        }
        return (buffer, values);
    }

    private float[] Read(DeviceBuffer buffer, int row) => Ops.ReadRow(buffer, row).ToArray();

    private void AssertRow(double[] expected, DeviceBuffer buffer, int row)
    {
        float[] actual = Read(buffer, row);
        double scale = Math.Max(1, expected.Where(double.IsFinite).Select(Math.Abs).DefaultIfEmpty(0).Max());
        for (int i = 0; i < expected.Length; i++)
        {
            bool equal = double.IsFinite(expected[i]) ? Math.Abs(expected[i] - actual[i]) <= Tolerance * scale : expected[i].Equals(actual[i]);
            Assert.True(equal, $"row {row}, column {i}: expected {expected[i]:R}, got {actual[i]:R}");
        }
    }

    /// <summary>A batch of one sequence of given tokens; only its rows matter.</summary>
    private static ForwardBatch Tokens(params int[] tokens) => new()
    {
        Rows = tokens.Length,
        Sequences = 1,
        TokenIds = tokens,
        Positions = [.. Enumerable.Range(0, tokens.Length)],
        SlotMapping = [.. Enumerable.Range(0, tokens.Length)],
        RowStarts = [0, tokens.Length],
        ContextLengths = [tokens.Length],
        BlockTable = [.. Enumerable.Range(0, (tokens.Length + 15) / 16)],
        BlockStarts = [0, (tokens.Length + 15) / 16],
        LogitRows = [],
        Logits = [],
    };
}
