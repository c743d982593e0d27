using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Kernels.Tests.Models;

/// <summary>
/// Narrow keys and values: lossy against fp32 within a stated bound, and bit by bit the same under every chunking, batch and
/// recomputation.
/// </summary>
public sealed class KvTypeTests
{
    // Root mean square of the difference to fp32 KV over that of the logits, over all rows of a prompt. The experts' random
    // weights route near ties: a row that goes to another expert is another row.
    private static double Bound(DType kvType, bool hasExperts) => (kvType == DType.Int8 ? 0.03 : 0.01) + (hasExperts ? 0.06 : 0);

    public static TheoryData<string, DType> Cases =>
        new(ConformanceCheckpoint.Names.SelectMany(name => (TheoryDataRow<string, DType>[])[(name, DType.BFloat16), (name, DType.Int8)]));

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Logits_are_near_those_of_fp32_keys_and_values(string name, DType kvType)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard exact = await LoadedShard.OpenAsync(checkpoint.Folder);
        await using LoadedShard narrow = await LoadedShard.OpenAsync(checkpoint.Folder, kvType: kvType);
        foreach (ExpectedPrompt prompt in checkpoint.Expected.Prompts)
        {
            float[][] expected = await WholeAsync(exact, prompt.Ids), actual = await WholeAsync(narrow, prompt.Ids);
            double error = Math.Sqrt(Square(expected.Zip(actual, (a, b) => a.Zip(b, (x, y) => (double)x - y)).SelectMany(row => row))
                / Square(expected.SelectMany(row => row.Select(x => (double)x))));
            Assert.InRange(error, double.Epsilon, Bound(kvType, exact.Engine.Config.Experts is not null));
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Chunks_neighbours_and_recomputation_change_no_bit(string name, DType kvType)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder, kvType: kvType);
        int[] ids = checkpoint.Prompt("p33").Ids;
        float[][] whole = await WholeAsync(shard, ids);
        foreach (int chunk in (int[])[1, 2, 5, 17, 32])
        {
            // The neighbour's rows go in the same steps; the blocks were used by the chunk size before.
            var sequence = new TestSequence(ids, LoadedShard.Blocks(ids.Length, first: chunk));
            var neighbour = new TestSequence(ids, LoadedShard.Blocks(ids.Length, first: chunk + 20));
            var logits = new List<float[]>();
            while (sequence.Computed < ids.Length)
            {
                int rows = Math.Min(chunk, ids.Length - sequence.Computed);
                float[][] both = await shard.LogitsAsync((neighbour, rows), (sequence, rows));
                logits.AddRange(both[rows..]);
            }

            Assert.Equal(whole, logits);
        }
    }

    private static Task<float[][]> WholeAsync(LoadedShard shard, int[] ids) =>
        shard.LogitsAsync((new TestSequence(ids, LoadedShard.Blocks(ids.Length)), ids.Length));

    private static double Square(IEnumerable<double> values) => values.Sum(value => value * value);
}
