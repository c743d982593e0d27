using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.TestKit;

namespace Cluster.Kernels.Tests.Models;

/// <summary>A checkpoint loaded on cpu:0, with access to raw logits and hidden states.</summary>
internal sealed class LoadedShard : IAsyncDisposable
{
    public const int BlockSize = 4;
    private readonly DeviceThread _device;

    private LoadedShard(DeviceThread device, ShardEngine engine)
    {
        _device = device;
        Engine = engine;
    }

    public ShardEngine Engine { get; }

    public DecoderModel Model => Engine.Model;

    public static ShardSpec Spec(string folder) => new()
    {
        ModelFolder = folder,
        Device = new DeviceId("cpu", 0),
        MaxModelLength = 256,
        MaxBatchedTokens = 512,
        MaxSequences = 16,
        KvCacheBytes = 4 << 20,
        BlockSize = BlockSize,
    };

    public static async Task<LoadedShard> OpenAsync(string folder, DType? weightType = null, WeightQuantization quantization = WeightQuantization.None, DType kvType = DType.Float32)
    {
        DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), new DeviceId("cpu", 0), 1);
        try
        {
            return new LoadedShard(device, await ShardEngine.LoadAsync(Spec(folder) with { WeightType = weightType, Quantization = quantization, KvType = kvType }, device));
        }
        catch
        {
            await device.DisposeAsync();
            throw;
        }
    }

    /// <summary>Blocks 0, 1, 2 ...: enough for a sequence of <paramref name="tokens"/> tokens, from block <paramref name="first"/> on.</summary>
    public static int[] Blocks(int tokens, int first = 0) => [.. Enumerable.Range(first, (tokens + BlockSize - 1) / BlockSize)];

    public Task<T> OnDeviceAsync<T>(Func<IDeviceOps, T> work) => _device.RunAsync(work);

    /// <summary>Computes the next rows of each sequence; logits of every row, in order.</summary>
    public async Task<float[][]> LogitsAsync(params (TestSequence Sequence, int Rows)[] parts)
    {
        ForwardBatch batch = TestSequence.Batch(BlockSize, parts, TestSequence.Greedy, everyRow: true);
        return await _device.RunAsync(ops =>
        {
            Model.Forward(ops.Prepare(batch), ExecutionPlan.Exact);
            var logits = new float[batch.Rows][];
            for (int row = 0; row < batch.Rows; row++)
            {
                Model.ComputeLogits([row]);
                logits[row] = ops.ReadRow(Model.Workspace.Logits!, 0).ToArray();
            }
            return logits;
        });
    }

    /// <summary>Computes the next rows of each sequence through the engine's door and appends the greedy token to each.</summary>
    public async Task StepAsync(params (TestSequence Sequence, int Rows)[] parts)
    {
        ForwardOutput output = await Engine.ExecuteAsync(TestSequence.Batch(BlockSize, parts, TestSequence.Greedy));
        for (int i = 0; i < parts.Length; i++)
        {
            if (parts[i].Sequence.Computed == parts[i].Sequence.Tokens.Count)
                parts[i].Sequence.Tokens.Add(output.Results[i].Token);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Engine.DisposeAsync();
        await _device.DisposeAsync();
    }
}
