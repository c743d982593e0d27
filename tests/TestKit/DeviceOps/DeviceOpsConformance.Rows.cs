using Cluster.Kernels.Execution;
using Xunit;

namespace Cluster.TestKit.DeviceOps;

public abstract partial class DeviceOpsConformance
{
    [Theory]
    [InlineData(DType.Float32)]
    [InlineData(DType.BFloat16)]
    [InlineData(DType.Float16)]
    public void EmbedRows_CopiesAndWidens(DType type)
    {
        HostMatrix source = Matrix(11, 24, type);
        EmbeddingTable table = Own(Ops.LoadEmbedding(source.View));
        DeviceBuffer output = Buffer(5, 24);
        int[] tokens = [10, 0, 3, 3, 7];

        Ops.EmbedRows(Ops.Prepare(Tokens(tokens)), table, output);

        double[,] expected = HostMatrix.Values(source.View);
        for (int row = 0; row < tokens.Length; row++)
            Assert.Equal(Enumerable.Range(0, 24).Select(j => (float)expected[tokens[row], j]), Read(output, row));
    }

    [Theory]
    [InlineData(1, 8)]
    [InlineData(3, 72)]
    [InlineData(33, 200)]
    public void RmsNorm_MatchesOracle(int rows, int columns)
    {
        HostMatrix weight = Matrix(1, columns, DType.BFloat16);
        (DeviceBuffer input, double[][] values) = Filled(rows, columns, scale: 3);
        DeviceBuffer output = Buffer(rows, columns);

        Ops.RmsNorm(rows, input, Vector(weight), 1e-5f, output);

        for (int row = 0; row < rows; row++)
            AssertRow(OracleOps.RmsNorm(values[row], Line(weight), 1e-5f), output, row);
    }

    [Theory]
    [InlineData(1, 8, DType.Float32, LinearRole.ColumnParallel)]
    [InlineData(1, 72, DType.BFloat16, LinearRole.RowParallel)]
    [InlineData(2, 140, DType.Float16, LinearRole.ColumnParallel)]
    [InlineData(3, 140, DType.Float32, LinearRole.RowParallel)]
    [InlineData(5, 72, DType.BFloat16, LinearRole.ColumnParallel)]
    [InlineData(8, 256, DType.BFloat16, LinearRole.RowParallel)]
    [InlineData(17, 80, DType.Float16, LinearRole.RowParallel)]
    [InlineData(33, 96, DType.Float32, LinearRole.ColumnParallel)]
    [InlineData(70, 264, DType.BFloat16, LinearRole.ColumnParallel)]
    public void Linear_MatchesOracle(int rows, int inFeatures, DType type, LinearRole role)
    {
        // Parts of odd heights; the second is a column range of a wider tensor, as a rank of a row-parallel linear sees it.
        HostMatrix first = Matrix(29, inFeatures, type, 0.2f), wide = Matrix(51, inFeatures + 16, type, 0.2f);
        HostTensor second = wide.View.ColumnRange(8, inFeatures);
        HostMatrix bias1 = Matrix(1, 29, type), bias2 = Matrix(1, 51, type);
        LinearWeight plain = Own(Ops.LoadLinear(new LinearSource([first.View, second], [], role)));
        LinearWeight biased = Own(Ops.LoadLinear(new LinearSource([first.View, second], [bias1.View, bias2.View], role)));
        (DeviceBuffer input, double[][] values) = Filled(rows, inFeatures);
        DeviceBuffer output = Buffer(rows, 80);
        Assert.Equal((80, inFeatures), (plain.OutFeatures, plain.InFeatures));

        Ops.Linear(rows, input, biased, output);
        double[,] weight = Stack(HostMatrix.Values(first.View), HostMatrix.Values(second));
        double[] bias = [.. Line(bias1), .. Line(bias2)];
        double[][] expected = [.. values.Select(row => OracleOps.Linear(row, weight, bias))];
        for (int row = 0; row < rows; row++)
            AssertRow(expected[row], output, row);

        Ops.Linear(rows, input, plain, output, LinearMode.Add);
        for (int row = 0; row < rows; row++)
            AssertRow([.. expected[row].Zip(OracleOps.Linear(values[row], weight, null), (a, b) => a + b)], output, row);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(6)]
    [InlineData(40)]
    public void NormLinear_MatchesOracle(int rows)
    {
        HostMatrix norm = Matrix(1, 72), weight = Matrix(56, 72, DType.BFloat16, 0.2f);
        LinearWeight linear = Own(Ops.LoadLinear(new LinearSource([weight.View], [], LinearRole.ColumnParallel)));
        (DeviceBuffer input, double[][] values) = Filled(rows, 72, scale: 2);
        DeviceBuffer output = Buffer(rows, 56);

        Ops.NormLinear(rows, input, Vector(norm), 1e-6f, linear, output);

        for (int row = 0; row < rows; row++)
            AssertRow(OracleOps.Linear(OracleOps.RmsNorm(values[row], Line(norm), 1e-6f), HostMatrix.Values(weight.View), null), output, row);
    }

    [Fact]
    public void LoadLinear_NarrowsWhenAsked()
    {
        HostMatrix source = Matrix(20, 40);
        LinearWeight weight = Own(Ops.LoadLinear(new LinearSource([source.View], [], LinearRole.ColumnParallel, DType.BFloat16)));
        (DeviceBuffer input, double[][] values) = Filled(2, 40);
        DeviceBuffer output = Buffer(2, 20);

        Ops.Linear(2, input, weight, output);

        double[,] narrow = HostMatrix.Values(source.View);
        for (int i = 0; i < 20; i++)
            for (int j = 0; j < 40; j++)
                narrow[i, j] = OracleOps.RoundToBFloat16((float)narrow[i, j]);
        AssertRow(OracleOps.Linear(values[0], narrow, null), output, 0);
        AssertRow(OracleOps.Linear(values[1], narrow, null), output, 1);
    }

    [Fact]
    public void GatedSilu_And_AddGated_MatchOracle()
    {
        (DeviceBuffer gateUp, double[][] values) = Filled(7, 2 * 44, scale: 4);
        (DeviceBuffer gate, double[][] gates) = Filled(7, 1, scale: 2);
        (DeviceBuffer sum, double[][] start) = Filled(7, 44);
        DeviceBuffer product = Buffer(7, 44);

        Ops.GatedSilu(7, gateUp, product);
        Ops.AddGated(7, product, gate, sum);

        for (int row = 0; row < 7; row++)
        {
            double[] expected = OracleOps.GatedSilu(values[row]);
            AssertRow(expected, product, row);
            AssertRow([.. start[row].Zip(expected, (a, b) => a + OracleOps.Sigmoid(gates[row][0]) * b)], sum, row);
        }
    }

    [Fact]
    public void AddRows_And_HostRows_AreExact()
    {
        HostMatrix bias = Matrix(1, 44);
        VectorWeight vector = Vector(bias);
        (DeviceBuffer input, double[][] values) = Filled(5, 44);
        (DeviceBuffer sum, double[][] start) = Filled(5, 44);

        Ops.AddRows(3, input, null, sum);
        Ops.AddRows(2, input, vector, sum);

        float[] added = [.. Line(bias).Select(value => (float)value)];
        for (int row = 0; row < 5; row++)
        {
            float[] expected = [.. start[row].Select(value => (float)value)];
            for (int i = 0; i < 44; i++)
            {
                expected[i] += row < 3 ? (float)values[row][i] : 0;
                expected[i] += row < 2 ? (float)values[row][i] + added[i] : 0;
            }
            Assert.Equal(expected, Read(sum, row));
        }
        Span<float> rows = Ops.HostRows(input, 4);
        Assert.Equal(values.Take(4).SelectMany(row => row.Select(value => (float)value)), rows.ToArray());
        rows[(2 * 44) + 7] = 9;
        Ops.StoreHostRows(input, 4);
        Assert.Equal(9, Read(input, 2)[7]);
        Assert.Equal((float)values[4][7], Read(input, 4)[7]);
    }

    [Fact]
    public void CopiesMoveExactBits()
    {
        (DeviceBuffer input, double[][] values) = Filled(6, 19);
        DeviceBuffer gathered = Buffer(6, 19), copied = Buffer(6, 19);

        Ops.GatherRows([5, 0, 0, 3], input, gathered);
        Ops.CopyRows(4, input, copied);

        int[] expected = [5, 0, 0, 3];
        for (int row = 0; row < 4; row++)
        {
            Assert.Equal(values[expected[row]].Select(value => (float)value), Read(gathered, row));
            Assert.Equal(values[row].Select(value => (float)value), Read(copied, row));
        }
        Assert.All(Read(copied, 4), value => Assert.Equal(0, value));
    }

    /// <summary>Invariant 3: a row computed alone has the bits it has among others, wherever it stands.</summary>
    [Theory]
    [InlineData(LinearRole.ColumnParallel)]
    [InlineData(LinearRole.RowParallel)]
    public void LinearRows_DoNotDependOnOtherRows(LinearRole role)
    {
        HostMatrix norm = Matrix(1, 96), source = Matrix(120, 96, DType.BFloat16);
        VectorWeight scale = Vector(norm);
        LinearWeight weight = Own(Ops.LoadLinear(new LinearSource([source.View], [], role)));
        (DeviceBuffer input, _) = Filled(67, 96);
        DeviceBuffer one = Buffer(1, 96), lone = Buffer(1, 120);
        foreach (int rows in (int[])[67, 32, 16, 8, 7, 5, 4, 3, 2])
        {
            DeviceBuffer plain = Buffer(rows, 120), normed = Buffer(rows, 120);
            Ops.Linear(rows, input, weight, plain);
            Ops.NormLinear(rows, input, scale, 1e-5f, weight, normed);
            foreach (int row in (int[])[0, rows / 2, rows - 1])
            {
                Ops.GatherRows([row], input, one);
                Ops.Linear(1, one, weight, lone);
                Assert.Equal(Read(lone, 0), Read(plain, row));
                Ops.NormLinear(1, one, scale, 1e-5f, weight, lone);
                Assert.Equal(Read(lone, 0), Read(normed, row));
            }
        }
    }

    private static double[] Line(HostMatrix vector)
    {
        double[,] values = HostMatrix.Values(vector.View);
        return [.. Enumerable.Range(0, values.GetLength(1)).Select(i => values[0, i])];
    }

    private static double[,] Stack(double[,] first, double[,] second)
    {
        int rows = first.GetLength(0), columns = first.GetLength(1);
        var stacked = new double[rows + second.GetLength(0), columns];
        for (int i = 0; i < stacked.GetLength(0); i++)
            for (int j = 0; j < columns; j++)
                stacked[i, j] = i < rows ? first[i, j] : second[i - rows, j];
        return stacked;
    }

    [Theory]
    [InlineData(1, 8)]
    [InlineData(5, 40_000)]
    [InlineData(33, 3000)]
    public void ReadRows_HandsOutEveryRowOnce_OneAtATimePerThread(int rows, int columns)
    {
        (DeviceBuffer buffer, double[][] values) = Filled(rows, columns);
        var seen = new float[rows][];
        var busy = new int[Ops.ReaderThreads];
        for (int repeat = 0; repeat < 20; repeat++)
        {
            Array.Clear(seen);
            int clashes = 0;
            Ops.ReadRows(buffer, rows, (row, elements, thread) =>
            {
                if (Interlocked.Increment(ref busy[thread]) != 1 || seen[row] is not null)
                    Interlocked.Increment(ref clashes);
                seen[row] = elements.ToArray();
                Interlocked.Decrement(ref busy[thread]);
            });
            Assert.Equal(0, clashes);
            for (int row = 0; row < rows; row++)
                Assert.Equal(values[row].Select(value => (float)value), seen[row]);
        }
    }
}
