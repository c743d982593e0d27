using Cluster.Kernels.Execution;
using Cluster.Kernels.Torch;
using Cluster.TestKit;
using TorchSharp;

namespace Cluster.Torch.Tests;

/// <summary>The decoder on the Torch ops: reference logits and tokens of every checkpoint, and no tensor left behind.</summary>
[Collection(Native.Collection)]
public sealed class TorchCheckpointTests
{
    private const int BlockSize = DecoderProbe.BlockSize;

    public static TheoryData<string> Checkpoints => [.. ConformanceCheckpoint.Names];

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Logits_and_greedy_tokens_equal_the_reference(string name)
    {
        Native.Require();
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using DeviceThread device = await OpenDeviceAsync();
        await using ShardEngine engine = await ShardEngine.LoadAsync(DecoderProbe.Spec(checkpoint.Folder), device);
        ExpectedPrompt prompt = checkpoint.Prompt("p33");

        AssertClose(checkpoint.Rows("p33.all_logits"), await DecoderProbe.LogitsAsync(device, engine.Model, prompt.Ids));

        // Prompt in two chunks of unequal size, then token by token.
        var sequence = new TestSequence(prompt.Ids, Blocks(64));
        await engine.ExecuteAsync(TestSequence.Batch(BlockSize, [(sequence, 20)], TestSequence.Greedy));
        int rows = 13;
        for (; sequence.Tokens.Count < prompt.Ids.Length + prompt.Greedy.Length; rows = 1)
            sequence.Tokens.Add((await engine.ExecuteAsync(TestSequence.Batch(BlockSize, [(sequence, rows)], TestSequence.Greedy))).Results[0].Token);
        Assert.Equal(prompt.Greedy, sequence.Tokens[prompt.Ids.Length..]);
    }

    [Fact]
    public async Task Steps_and_disposal_leave_no_tensor()
    {
        Native.Require();
        await using DeviceThread device = await OpenDeviceAsync();
        long before = torch.Tensor.TotalCount;
        await using (ShardEngine engine = await ShardEngine.LoadAsync(DecoderProbe.Spec(SharedData.InRepository("tests", "Checkpoints", "qwen2_moe")), device))
        {
            var sequence = new TestSequence(Enumerable.Range(0, 30), Blocks(30));
            await engine.ExecuteAsync(TestSequence.Batch(BlockSize, [(sequence, 10)], TestSequence.Greedy));
            long loaded = torch.Tensor.TotalCount;
            for (int step = 0; step < 5; step++)
                await engine.ExecuteAsync(TestSequence.Batch(BlockSize, [(sequence, 4)], TestSequence.Greedy));
            Assert.Equal(loaded, torch.Tensor.TotalCount);
        }
        await device.RunAsync(ops => ops.Dispose());   // the last batch's index arrays
        Assert.Equal(before, torch.Tensor.TotalCount);
    }

    private static Task<DeviceThread> OpenDeviceAsync() => DeviceThread.StartAsync(new TorchOpsFactory(), new DeviceId("cpu", 0), threads: 1);

    private static int[] Blocks(int tokens) => [.. Enumerable.Range(0, (tokens + BlockSize - 1) / BlockSize)];

    private static void AssertClose(float[][] expected, float[][] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int row = 0; row < expected.Length; row++)
            for (int i = 0; i < expected[row].Length; i++)
                Assert.True(Math.Abs(expected[row][i] - actual[row][i]) <= 1e-4, $"row {row}, token {i}: {expected[row][i]} and {actual[row][i]}");
    }
}
