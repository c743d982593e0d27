using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.TestKit;

namespace Cluster.Torch.Tests;

/// <summary>Logits of a checkpoint folder, straight from the decoder.</summary>
internal static class DecoderProbe
{
    public const int BlockSize = 4;

    public static ShardSpec Spec(string folder) => new()
    {
        ModelFolder = folder,
        Device = new DeviceId("cpu", 0),
        MaxModelLength = 128,
        MaxBatchedTokens = 128,
        MaxSequences = 4,
        KvCacheBytes = 16 << 20,
        BlockSize = BlockSize,
    };

    /// <summary>Logits at every position, computed by the C# ops.</summary>
    public static async Task<float[][]> LogitsAsync(string folder, int[] tokens)
    {
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), threads: 1);
        await using ShardEngine engine = await ShardEngine.LoadAsync(Spec(folder), device);
        return await LogitsAsync(device, engine.Model, tokens);
    }

    /// <summary>Logits at every position.</summary>
    public static Task<float[][]> LogitsAsync(DeviceThread device, DecoderModel model, int[] tokens)
    {
        var sequence = new TestSequence(tokens, [.. Enumerable.Range(0, (tokens.Length + BlockSize - 1) / BlockSize)]);
        ForwardBatch batch = TestSequence.Batch(BlockSize, [(sequence, tokens.Length)], TestSequence.Greedy, everyRow: true);
        return device.RunAsync(ops =>
        {
            model.Forward(ops.Prepare(batch), ExecutionPlan.Exact);
            var logits = new float[batch.Rows][];
            for (int row = 0; row < batch.Rows; row++)
            {
                model.ComputeLogits([row]);
                logits[row] = ops.ReadRow(model.Workspace.Logits!, 0).ToArray();
            }
            return logits;
        });
    }
}
