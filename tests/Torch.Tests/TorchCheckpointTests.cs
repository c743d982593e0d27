using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Torch;
using Cluster.TestKit;
using TorchSharp;

namespace Cluster.Torch.Tests;

/// <summary>The decoder on the Torch ops: reference logits and tokens of every checkpoint, and no tensor left behind.</summary>
public sealed class TorchCheckpointTests
{
    private const int BlockSize = 4;

    public static TheoryData<string> Checkpoints => [.. ConformanceCheckpoint.Names];

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Logits_and_greedy_tokens_equal_the_reference(string name)
    {
        Native.Require();
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using DeviceThread device = await OpenDeviceAsync();
        await using ShardEngine engine = await ShardEngine.LoadAsync(Spec(checkpoint.Folder), device);
        ExpectedPrompt prompt = checkpoint.Prompt("p33");

        float[][] logits = await LogitsAsync(device, engine.Model, new TestSequence(prompt.Ids, Blocks(64)), prompt.Ids.Length);
        AssertClose(checkpoint.Rows("p33.all_logits"), logits);

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
        await using (ShardEngine engine = await ShardEngine.LoadAsync(Spec(SharedData.InRepository("tests", "Checkpoints", "qwen2_moe")), device))
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

    private static ShardSpec Spec(string folder) => new()
    {
        ModelFolder = folder,
        Device = new DeviceId("cpu", 0),
        MaxModelLength = 256,
        MaxBatchedTokens = 256,
        MaxSequences = 4,
        KvCacheBytes = 2 << 20,
        BlockSize = BlockSize,
    };

    private static int[] Blocks(int tokens) => [.. Enumerable.Range(0, (tokens + BlockSize - 1) / BlockSize)];

    private static Task<float[][]> LogitsAsync(DeviceThread device, DecoderModel model, TestSequence sequence, int rows)
    {
        ForwardBatch batch = TestSequence.Batch(BlockSize, [(sequence, rows)], TestSequence.Greedy, everyRow: true);
        return device.RunAsync(ops =>
        {
            model.Forward(ops.Prepare(batch), ExecutionPlan.Exact);
            var logits = new float[batch.Rows][];
            for (int row = 0; row < batch.Rows; row++)
            {
                model.ComputeLogits([row]);
                logits[row] = ops.ReadRow(model.Workspace.Logits, 0).ToArray();
            }
            return logits;
        });
    }

    private static void AssertClose(float[][] expected, float[][] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int row = 0; row < expected.Length; row++)
            for (int i = 0; i < expected[row].Length; i++)
                Assert.True(Math.Abs(expected[row][i] - actual[row][i]) <= 1e-4, $"row {row}, token {i}: {expected[row][i]} and {actual[row][i]}");
    }
}
