using Cluster.Kernels.Execution;
using Xunit;

namespace Cluster.TestKit.DeviceOps;

public abstract partial class DeviceOpsConformance
{
    private const int Positions = 64;

    [Theory]
    [InlineData(16, 16, false)]
    [InlineData(24, 24, true)]
    [InlineData(24, 16, false)]
    public void Rotate_MatchesOracle(int headDim, int dimensions, bool withNorms)
    {
        var layout = new QkvLayout(QueryHeads: 4, KvHeads: 2, headDim);
        float[] cosines = Angles(dimensions, MathF.Cos), sines = Angles(dimensions, MathF.Sin);
        RotaryTable table = Own(Ops.LoadRotary(cosines, sines, dimensions));
        HostMatrix queryNorm = Matrix(1, headDim), keyNorm = Matrix(1, headDim);
        HeadNorms? norms = withNorms ? new HeadNorms(Vector(queryNorm), Vector(keyNorm), 1e-6f) : null;
        (DeviceBuffer qkv, double[][] values) = Filled(3, layout.Width);
        ForwardBatch batch = Batch([(3, 20)], blockSize: 16, out _);

        Ops.Rotate(Ops.Prepare(batch), qkv, layout, table, norms);

        for (int row = 0; row < 3; row++)
        {
            int at = batch.Positions[row] * (dimensions / 2);
            double[] Turn(double[] head, HostMatrix norm) => OracleOps.Rotate(
                withNorms ? OracleOps.RmsNorm(head, Line(norm), 1e-6f) : head,
                [.. cosines[at..(at + dimensions / 2)].Select(value => (double)value)],
                [.. sines[at..(at + dimensions / 2)].Select(value => (double)value)]);
            IEnumerable<double> expected = Heads(values[row], layout, 0, 4).SelectMany(head => Turn(head, queryNorm))
                .Concat(Heads(values[row], layout, 4, 2).SelectMany(head => Turn(head, keyNorm)))
                .Concat(values[row][(layout.QueryWidth + layout.KvWidth)..]);
            AssertRow([.. expected], qkv, row);
        }
    }

    /// <summary>Chunked prefill and decode in one ragged batch over scattered blocks, in every cut and window.</summary>
    [Theory]
    [InlineData(16, 16, DType.Float32, 0)]
    [InlineData(16, 24, DType.Float32, 9)]
    [InlineData(4, 16, DType.BFloat16, 0)]
    [InlineData(12, 64, DType.BFloat16, 5)]
    public void Attention_MatchesOracle(int blockSize, int headDim, DType type, int window)
    {
        var layout = new QkvLayout(QueryHeads: 6, KvHeads: 2, headDim);
        AttentionCase @case = FillCache(layout, blockSize, type);
        int rows = @case.Batch.Rows;
        DeviceBuffer output = Buffer(rows, layout.QueryWidth), sums = Buffer(rows, layout.QueryHeads);
        foreach (KeyRange range in (KeyRange[])[new(0, int.MaxValue, window), new(0, 13, window), new(13, int.MaxValue, window), new(100, 200, window)])
        {
            Ops.Attention(Ops.Prepare(@case.Batch), @case.Queries, layout, @case.Cache, layer: 1, range, output, sums);
            for (int row = 0; row < rows; row++)
                AssertAttention(@case, layout, row, range, output, sums);
        }
    }

    /// <summary>Heads as a tensor rank has them: of the first and last group some are elsewhere, and the output has columns before the first head.</summary>
    [Theory]
    [InlineData(5, 3, 3, 2, 0)]
    [InlineData(3, 2, 2, 1, 8)]
    [InlineData(7, 3, 4, 3, 16)]
    [InlineData(2, 1, 4, 1, 0)]
    public void Attention_OfPartsOfGroups_MatchesOracle(int queryHeads, int kvHeads, int group, int offset, int column)
    {
        var layout = new QkvLayout(queryHeads, kvHeads, HeadDim: 16) { Group = group, GroupOffset = offset, OutputOffset = column };
        AttentionCase @case = FillCache(layout, blockSize: 8, DType.Float32);
        DeviceBuffer output = Buffer(@case.Batch.Rows, column + layout.QueryWidth), sums = Buffer(@case.Batch.Rows, queryHeads);

        Ops.Attention(Ops.Prepare(@case.Batch), @case.Queries, layout, @case.Cache, layer: 1, KeyRange.All, output, sums);

        for (int row = 0; row < @case.Batch.Rows; row++)
            AssertAttention(@case, layout, row, KeyRange.All, output, sums);
    }

    [Fact]
    public void MergedParts_EqualTheWhole()
    {
        var layout = new QkvLayout(QueryHeads: 6, KvHeads: 2, HeadDim: 16);
        AttentionCase @case = FillCache(layout, blockSize: 8, DType.Float32);
        int rows = @case.Batch.Rows;
        DeviceBuffer first = Buffer(rows, layout.QueryWidth), firstSums = Buffer(rows, layout.QueryHeads);
        DeviceBuffer second = Buffer(rows, layout.QueryWidth), secondSums = Buffer(rows, layout.QueryHeads);

        // Keys before 13, then after: some rows have none in the second part; the last part is empty for all.
        Ops.Attention(Ops.Prepare(@case.Batch), @case.Queries, layout, @case.Cache, 1, new KeyRange(0, 13, 0), first, firstSums);
        foreach (KeyRange range in (KeyRange[])[new(13, int.MaxValue, 0), new(500, 600, 0)])
        {
            Ops.Attention(Ops.Prepare(@case.Batch), @case.Queries, layout, @case.Cache, 1, range, second, secondSums);
            Ops.MergeAttention(rows, layout, first, firstSums, second, secondSums);
        }
        for (int row = 0; row < rows; row++)
            AssertAttention(@case, layout, row, KeyRange.All, first, firstSums);

        // The other way round: a first part without keys takes over the second.
        Ops.Attention(Ops.Prepare(@case.Batch), @case.Queries, layout, @case.Cache, 1, new KeyRange(500, 600, 0), first, firstSums);
        Ops.Attention(Ops.Prepare(@case.Batch), @case.Queries, layout, @case.Cache, 1, KeyRange.All, second, secondSums);
        Ops.MergeAttention(rows, layout, first, firstSums, second, secondSums);
        for (int row = 0; row < rows; row++)
            AssertAttention(@case, layout, row, KeyRange.All, first, firstSums);
    }

    /// <summary>Invariant 3 for attention: the bits of a row do not depend on the chunk or batch it is computed in.</summary>
    [Theory]
    [InlineData(DType.Float32)]
    [InlineData(DType.BFloat16)]
    public void AttentionRows_DoNotDependOnTheBatch(DType type)
    {
        var layout = new QkvLayout(QueryHeads: 6, KvHeads: 2, HeadDim: 32);
        AttentionCase @case = FillCache(layout, blockSize: 16, type);
        DeviceBuffer output = Buffer(@case.Batch.Rows, layout.QueryWidth), sums = Buffer(@case.Batch.Rows, layout.QueryHeads);
        DeviceBuffer query = Buffer(1, layout.Width), lone = Buffer(1, layout.QueryWidth), loneSums = Buffer(1, layout.QueryHeads);
        Ops.Attention(Ops.Prepare(@case.Batch), @case.Queries, layout, @case.Cache, 1, KeyRange.All, output, sums);
        for (int row = 0; row < @case.Batch.Rows; row++)
        {
            ForwardBatch single = SingleRow(@case.Batch, row);
            Ops.GatherRows([row], @case.Queries, query);
            Ops.Attention(Ops.Prepare(single), query, layout, @case.Cache, 1, KeyRange.All, lone, loneSums);
            Assert.Equal(Read(output, row), Read(lone, 0));
            Assert.Equal(Read(sums, row), Read(loneSums, 0));
        }
    }

    private sealed record AttentionCase(
        ForwardBatch Batch, DeviceBuffer Queries, double[][] QueryRows, KvCache Cache, double[][][] Keys, double[][][] Values);

    /// <summary>Three sequences: a whole prompt, a later chunk, one decode row; all their keys are stored first, by StoreKv.</summary>
    private AttentionCase FillCache(QkvLayout layout, int blockSize, DType type)
    {
        (int Rows, int Length)[] sequences = [(9, 9), (7, 31), (1, 18)];
        ForwardBatch batch = Batch(sequences, blockSize, out int blocks);
        ForwardBatch all = Batch([.. sequences.Select(sequence => (sequence.Length, sequence.Length))], blockSize, out _);
        KvCache cache = Own(Ops.AllocateKvCache(new KvCacheShape(2, blocks, blockSize, layout.KvHeads, layout.HeadDim, type)));
        (DeviceBuffer stored, double[][] rows) = Filled(all.Rows, layout.Width);
        (DeviceBuffer noise, _) = Filled(all.Rows, layout.Width);
        Ops.StoreKv(Ops.Prepare(all), noise, layout, cache, layer: 0);
        Ops.StoreKv(Ops.Prepare(all), stored, layout, cache, layer: 1);
        Ops.StoreKv(Ops.Prepare(all), noise, layout, cache, layer: 0);
        double Stored(double value) => type == DType.BFloat16 ? OracleOps.RoundToBFloat16((float)value) : value;
        double[][][] Part(int offset) => [.. sequences.Select((sequence, s) => rows[all.RowStarts[s]..all.RowStarts[s + 1]]
            .Select(row => row[offset..(offset + layout.KvWidth)].Select(Stored).ToArray()).ToArray())];
        (DeviceBuffer queries, double[][] queryRows) = Filled(batch.Rows, layout.Width);
        return new AttentionCase(batch, queries, queryRows, cache, Part(layout.QueryWidth), Part(layout.QueryWidth + layout.KvWidth));
    }

    private void AssertAttention(AttentionCase @case, QkvLayout layout, int row, KeyRange range, DeviceBuffer output, DeviceBuffer sums)
    {
        int sequence = Array.FindIndex(@case.Batch.RowStarts, start => start > row) - 1;
        int position = @case.Batch.Positions[row];
        int start = Math.Max(range.Start, range.Window > 0 ? position - range.Window + 1 : 0);
        int end = Math.Min(range.End, position + 1);
        List<double> outputs = [.. new double[layout.OutputOffset]], logSums = [];
        for (int head = 0; head < layout.QueryHeads; head++)
        {
            int at = (layout.GroupOffset + head) / layout.Group * layout.HeadDim;
            double[][] Cut(double[][] part) => start < end ? [.. part[start..end].Select(line => line[at..(at + layout.HeadDim)])] : [];
            (double[] expected, double logSum) = OracleOps.Attend(
                @case.QueryRows[row][(head * layout.HeadDim)..((head + 1) * layout.HeadDim)],
                Cut(@case.Keys[sequence]), Cut(@case.Values[sequence]));
            outputs.AddRange(expected);
            logSums.Add(logSum);
        }
        AssertRow([.. outputs], output, row);
        AssertRow([.. logSums], sums, row);
    }

    /// <summary>The last rows of sequences of some length; blocks are dealt out backwards and interleaved.</summary>
    private static ForwardBatch Batch((int Rows, int Length)[] sequences, int blockSize, out int blocks)
    {
        List<int> positions = [], slots = [], rowStarts = [0], table = [], blockStarts = [0];
        int total = sequences.Sum(sequence => (sequence.Length + blockSize - 1) / blockSize);
        int next = 0;
        foreach ((int rows, int length) in sequences)
        {
            int count = (length + blockSize - 1) / blockSize, first = table.Count;
            for (int i = 0; i < count; i++, next++)
                table.Add(next % 2 == 0 ? total - 1 - next / 2 : next / 2);
            for (int position = length - rows; position < length; position++)
            {
                positions.Add(position);
                slots.Add(table[first + position / blockSize] * blockSize + position % blockSize);
            }
            rowStarts.Add(positions.Count);
            blockStarts.Add(table.Count);
        }
        blocks = total;
        return new ForwardBatch
        {
            Rows = positions.Count,
            Sequences = sequences.Length,
            TokenIds = new int[positions.Count],
            Positions = [.. positions],
            SlotMapping = [.. slots],
            RowStarts = [.. rowStarts],
            ContextLengths = [.. sequences.Select(sequence => sequence.Length)],
            BlockTable = [.. table],
            BlockStarts = [.. blockStarts],
            LogitRows = [],
            Logits = [],
        };
    }

    private static ForwardBatch SingleRow(ForwardBatch batch, int row)
    {
        int sequence = Array.FindIndex(batch.RowStarts, start => start > row) - 1;
        int[] blocks = batch.BlockTable[batch.BlockStarts[sequence]..batch.BlockStarts[sequence + 1]];
        return new ForwardBatch
        {
            Rows = 1,
            Sequences = 1,
            TokenIds = [0],
            Positions = [batch.Positions[row]],
            SlotMapping = [batch.SlotMapping[row]],
            RowStarts = [0, 1],
            ContextLengths = [batch.Positions[row] + 1],
            BlockTable = blocks,
            BlockStarts = [0, blocks.Length],
            LogitRows = [],
            Logits = [],
        };
    }

    private static float[] Angles(int dimensions, Func<float, float> function) =>
        [.. Enumerable.Range(0, Positions).SelectMany(position => Enumerable.Range(0, dimensions / 2)
            .Select(i => function(position * MathF.Pow(10000, -2f * i / dimensions))))];

    private static IEnumerable<double[]> Heads(double[] row, QkvLayout layout, int first, int count) =>
        Enumerable.Range(first, count).Select(head => row[(head * layout.HeadDim)..((head + 1) * layout.HeadDim)]);
}
