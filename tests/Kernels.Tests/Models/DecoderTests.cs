using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Sampling;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.Kernels.Tests.Models;

/// <summary>What the reference folders do not show: an active sliding window, stored types, allocations.</summary>
public sealed class DecoderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_sliding_window_bounds_what_a_row_can_see()
    {
        // Three layers with windows of 4 see 3 * 3 tokens back; layer types can open one of them again.
        CheckpointCopy.WithConfig("mistral", _folder.Path, config => config["sliding_window"] = 4);
        await using LoadedShard shard = await LoadedShard.OpenAsync(_folder.Path);
        int[] ids = SharedPrompt("mistral");
        float[] last = await LastAsync(shard, ids);
        Assert.Equal(last, await LastAsync(shard, Changed(ids, ids.Length - 1 - 10)));
        Assert.Equal(last, await LastAsync(shard, Changed(ids, 0)));
        Assert.NotEqual(last, await LastAsync(shard, Changed(ids, ids.Length - 1 - 9)));
    }

    [Fact]
    public async Task Layer_types_choose_the_layers_with_a_window()
    {
        CheckpointCopy.WithConfig("qwen2", _folder.Path, config =>
        {
            config["use_sliding_window"] = true;
            config["sliding_window"] = 4;
            config["layer_types"] = new JsonArray("sliding_attention", "full_attention", "sliding_attention");
        });
        await using LoadedShard shard = await LoadedShard.OpenAsync(_folder.Path);
        int[] ids = SharedPrompt("qwen2");
        Assert.NotEqual(await LastAsync(shard, ids), await LastAsync(shard, Changed(ids, 0)));
    }

    [Fact]
    public async Task A_window_longer_than_the_sequence_changes_no_bit()
    {
        CheckpointCopy.WithConfig("mistral", _folder.Path, config => config["sliding_window"] = 200);
        await using LoadedShard wide = await LoadedShard.OpenAsync(_folder.Path);
        await using LoadedShard open = await LoadedShard.OpenAsync(SharedData.InRepository("tests", "Checkpoints", "mistral"));
        int[] ids = SharedPrompt("mistral");
        Assert.Equal(await LastAsync(open, ids), await LastAsync(wide, ids));
    }

    [Fact]
    public async Task Half_precision_weights_are_never_narrowed_to_bfloat16()
    {
        CheckpointCopy.WithWeights("llama", _folder.Path, (_, values) => ("F16", Bytes(values.Select(x => (Half)x))));
        int[] ids = SharedPrompt("llama");
        float[] kept = await LastAsync(_folder.Path, type: null, ids);
        Assert.Equal(kept, await LastAsync(_folder.Path, DType.BFloat16, ids));
        float[] exact = await LastAsync(SharedData.InRepository("tests", "Checkpoints", "llama"), type: null, ids);
        Assert.InRange(exact.Zip(kept, (a, b) => Math.Abs(a - b)).Max(), 1e-5f, 0.05f);
    }

    [Fact]
    public async Task Single_precision_weights_are_narrowed_on_demand()
    {
        string folder = SharedData.InRepository("tests", "Checkpoints", "llama");
        int[] ids = SharedPrompt("llama");
        float[] exact = await LastAsync(folder, type: null, ids), narrow = await LastAsync(folder, DType.BFloat16, ids);
        Assert.InRange(exact.Zip(narrow, (a, b) => Math.Abs(a - b)).Max(), 1e-4f, 0.5f);
    }

    [Fact]
    public async Task Integer_weights_are_refused_by_name()
    {
        CheckpointCopy.WithWeights("llama", _folder.Path, (name, values) => name == "model.norm.weight" ? ("I32", Bytes(values.Select(x => (int)x))) : ("F32", Bytes(values)));
        CheckpointFormatException error = await Assert.ThrowsAsync<CheckpointFormatException>(() => LoadedShard.OpenAsync(_folder.Path));
        Assert.Equal("tensor model.norm.weight: dtype", error.Field);
    }

    [Theory]
    [InlineData("llama", DType.Float32, false)]
    [InlineData("llama", DType.Int8, true)]
    [InlineData("qwen2_moe", DType.BFloat16, true)]
    public async Task Steps_allocate_nothing_on_the_device_thread_but_their_results(string name, DType kvType, bool samples)
    {
        await using LoadedShard shard = await LoadedShard.OpenAsync(SharedData.InRepository("tests", "Checkpoints", name), kvType: kvType);
        int[] ids = SharedPrompt(name);
        var parameters = new SamplingParameters { TopP = 0.9f, TopK = 40, Temperature = 0.8f };
        LogitRequest Request(int step) => new(samples ? new SamplingState
        {
            Parameters = parameters, Seed = 1, Choice = 0, Position = step, Tokens = ids, PromptLength = ids.Length,
        } : TestSequence.Greedy.Sampling, -1, -1);
        ForwardBatch[] steps = [.. Enumerable.Range(0, 40).Select(step => TestSequence.Batch(
            LoadedShard.BlockSize, [(new TestSequence(ids, LoadedShard.Blocks(ids.Length)) { Computed = ids.Length - 1 }, 1)], Request(step)))];
        const int Rounds = 10;
        (long actual, long expected) = await shard.OnDeviceAsync(ops =>
        {
            ForwardOutput? output = null;
            void Run()
            {
                foreach (ForwardBatch step in steps)
                    output = shard.Engine.Execute(ops, step, ExecutionPlan.Exact);
            }

            Run();
            long before, stepped = long.MaxValue;
            // A collection that another test causes closes this thread's buffer and counts the rest of it: the least round is the steps' own.
            for (int round = 0; round < Rounds; round++)
            {
                before = GC.GetAllocatedBytesForCurrentThread();
                Run();
                stepped = Math.Min(stepped, GC.GetAllocatedBytesForCurrentThread() - before);
            }
            before = GC.GetAllocatedBytesForCurrentThread();
            output = new ForwardOutput([new LogitResult(0, float.NaN, [])]);
            return (stepped, steps.Length * (GC.GetAllocatedBytesForCurrentThread() - before));
        });
        Assert.Equal(expected, actual);
    }

    private static int[] SharedPrompt(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        return checkpoint.Prompt("p33").Ids;
    }

    private static int[] Changed(int[] ids, int position)
    {
        int[] changed = [.. ids];
        changed[position] = (changed[position] + 1) % 250;
        return changed;
    }

    private static async Task<float[]> LastAsync(LoadedShard shard, int[] ids) =>
        (await shard.LogitsAsync((new TestSequence(ids, LoadedShard.Blocks(ids.Length)), ids.Length)))[^1];

    private static async Task<float[]> LastAsync(string folder, DType? type, int[] ids)
    {
        await using LoadedShard shard = await LoadedShard.OpenAsync(folder, type);
        return await LastAsync(shard, ids);
    }

    private static byte[] Bytes<T>(IEnumerable<T> values)
        where T : unmanaged => MemoryMarshal.AsBytes(values.ToArray().AsSpan()).ToArray();
}
