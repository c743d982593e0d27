using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Models;

/// <summary>Every checkpoint against the reference implementation's logits and greedy tokens, whole, in chunks, batched and scattered.</summary>
public sealed class ConformanceTests
{
    private const int Continuation = 24;
    private const float Tolerance = 1e-4f;      // the reference data's own tolerance for fp32

    public static TheoryData<string> Checkpoints => [.. ConformanceCheckpoint.Names];

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Greedy_tokens_equal_the_reference(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        foreach (ExpectedPrompt prompt in checkpoint.Expected.Prompts)
            Assert.Equal(prompt.Greedy, await ContinueAsync(shard, prompt, chunk: prompt.Ids.Length));
        Assert.Equal(checkpoint.Prompt("p33").Greedy, await ContinueAsync(shard, checkpoint.Prompt("p33"), chunk: 5));
    }

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Logits_are_within_tolerance_of_the_reference(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        foreach (ExpectedPrompt prompt in checkpoint.Expected.Prompts)
        {
            float[][] logits = await WholeAsync(shard, prompt.Ids);
            AssertClose(checkpoint.Rows($"{prompt.Id}.last_logits")[0], logits[^1], $"{prompt.Id} last");
            for (int position = 0; position < logits.Length; position++)
                Assert.True(prompt.Top1Margin[position] <= 1e-3 || ArgMax(logits[position]) == prompt.Argmax[position], $"{prompt.Id}: argmax at {position}");
        }
        ExpectedPrompt p33 = checkpoint.Prompt("p33");
        float[][] all = await WholeAsync(shard, p33.Ids), expected = checkpoint.Rows("p33.all_logits");
        for (int position = 0; position < all.Length; position++)
            AssertClose(expected[position], all[position], $"p33 position {position}");
    }

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Decoded_logits_match_the_reference_and_a_recomputation_bit_by_bit(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        ExpectedPrompt prompt = checkpoint.Prompt("p33");
        float[][] expected = checkpoint.Rows("p33.greedy_logits");
        int[] tokens = [.. prompt.Ids, .. prompt.Greedy];
        var sequence = new TestSequence(tokens, LoadedShard.Blocks(tokens.Length));
        var decoded = new List<float[]>(await shard.LogitsAsync((sequence, prompt.Ids.Length)));
        while (sequence.Computed < tokens.Length - 1)
            decoded.AddRange(await shard.LogitsAsync((sequence, 1)));
        for (int i = 0; i < Continuation; i++)
            AssertClose(expected[i], decoded[prompt.Ids.Length - 1 + i], $"greedy step {i}");
        // After a preemption all known tokens are computed again, in one piece and in other blocks.
        var again = new TestSequence(tokens, LoadedShard.Blocks(tokens.Length, first: 20));
        AssertSame([.. decoded], await shard.LogitsAsync((again, tokens.Length - 1)), "recomputed");
    }

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Every_chunk_size_gives_the_same_bits(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        int[] ids = checkpoint.Prompt("p33").Ids;
        float[][] whole = await WholeAsync(shard, ids);
        for (int chunk = 1; chunk < ids.Length; chunk++)
        {
            var sequence = new TestSequence(ids, LoadedShard.Blocks(ids.Length, first: chunk));
            var logits = new List<float[]>();
            while (sequence.Computed < ids.Length)
                logits.AddRange(await shard.LogitsAsync((sequence, Math.Min(chunk, ids.Length - sequence.Computed))));
            AssertSame(whole, [.. logits], $"chunks of {chunk}");
        }
    }

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Neighbours_in_a_batch_and_scattered_blocks_change_no_bit(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        ExpectedPrompt[] prompts = checkpoint.Expected.Prompts;
        var alone = new List<float[][]>();
        foreach (ExpectedPrompt prompt in prompts)
            alone.Add(await WholeAsync(shard, prompt.Ids));
        var random = new Random(7);
        int[] pool = [.. Enumerable.Range(0, shard.Engine.BlockCount)];
        random.Shuffle(pool);
        var sequences = new List<TestSequence>();
        int next = 0;
        foreach (ExpectedPrompt prompt in prompts)
        {
            int count = LoadedShard.Blocks(prompt.Ids.Length).Length;
            sequences.Add(new TestSequence(prompt.Ids, pool[next..(next += count)]));
        }
        // Ragged steps: every sequence advances by a random number of rows, some not at all.
        var logits = prompts.Select(_ => new List<float[]>()).ToArray();
        while (sequences.Any(sequence => sequence.Computed < sequence.Tokens.Count))
            await RaggedStepAsync(shard, sequences, logits, random);
        for (int i = 0; i < prompts.Length; i++)
            AssertSame(alone[i], [.. logits[i]], $"{prompts[i].Id} in a batch");
    }

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task The_new_spelling_of_the_configuration_gives_the_same_bits(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        using var folder = new TemporaryFolder();
        checkpoint.CopyWithNewConfig(folder.Path);
        int[] ids = checkpoint.Prompt("p33").Ids;
        await using LoadedShard old = await LoadedShard.OpenAsync(checkpoint.Folder);
        await using LoadedShard renewed = await LoadedShard.OpenAsync(folder.Path);
        AssertSame(await WholeAsync(old, ids), await WholeAsync(renewed, ids), "config.v5.json");
        Assert.Equal(checkpoint.Prompt("p7").Greedy, await ContinueAsync(renewed, checkpoint.Prompt("p7"), chunk: 7));
    }

    private static async Task RaggedStepAsync(LoadedShard shard, List<TestSequence> sequences, List<float[]>[] logits, Random random)
    {
        var parts = new List<(int Index, int Rows)>();
        for (int i = 0; i < sequences.Count; i++)
        {
            int left = sequences[i].Tokens.Count - sequences[i].Computed;
            if (Math.Min(left, random.Next(0, 40)) is > 0 and var rows)
                parts.Add((i, rows));
        }
        if (parts.Count == 0)
            return;
        float[][] rowsOfAll = await shard.LogitsAsync([.. parts.Select(part => (sequences[part.Index], part.Rows))]);
        int next = 0;
        foreach ((int index, int rows) in parts)
            logits[index].AddRange(rowsOfAll[next..(next += rows)]);
    }

    private static Task<float[][]> WholeAsync(LoadedShard shard, int[] ids) =>
        shard.LogitsAsync((new TestSequence(ids, LoadedShard.Blocks(ids.Length)), ids.Length));

    private static async Task<int[]> ContinueAsync(LoadedShard shard, ExpectedPrompt prompt, int chunk)
    {
        var sequence = new TestSequence(prompt.Ids, LoadedShard.Blocks(prompt.Ids.Length + Continuation));
        while (sequence.Tokens.Count < prompt.Ids.Length + Continuation)
            await shard.StepAsync((sequence, Math.Min(chunk, sequence.Tokens.Count - sequence.Computed)));
        return [.. sequence.Tokens.Skip(prompt.Ids.Length)];
    }

    private static int ArgMax(float[] logits) => Array.IndexOf(logits, logits.Max());

    private static void AssertClose(float[] expected, float[] actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        float worst = expected.Zip(actual, (a, b) => MathF.Abs(a - b)).Max();
        Assert.True(worst <= Tolerance, $"{what}: logits differ by {worst}");
    }

    private static void AssertSame(float[][] expected, float[][] actual, string what)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int row = 0; row < expected.Length; row++)
        {
            for (int token = 0; token < expected[row].Length; token++)
                Assert.True(BitConverter.SingleToInt32Bits(expected[row][token]) == BitConverter.SingleToInt32Bits(actual[row][token]),
                    $"{what}: row {row}, token {token}: {expected[row][token]:R} and {actual[row][token]:R}");
        }
    }
}
