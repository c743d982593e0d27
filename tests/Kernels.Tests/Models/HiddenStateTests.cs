using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Kernels.Tests.Models;

/// <summary>The residual stream after each layer and the experts' choices, against the reference; both halves of a layer are called by hand.</summary>
public sealed class HiddenStateTests
{
    private const float RelativeTolerance = 1e-4f;

    public static TheoryData<string> Checkpoints => [.. ConformanceCheckpoint.Names];

    public static TheoryData<string> ExpertCheckpoints => ["mixtral", "qwen2_moe", "qwen3_moe"];

    [Theory]
    [MemberData(nameof(Checkpoints))]
    public async Task Residual_stream_equals_the_reference_after_every_layer(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        int[] ids = checkpoint.Prompt("p7").Ids;
        ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence(ids, LoadedShard.Blocks(ids.Length)), ids.Length)], TestSequence.Greedy);
        List<float[][]> states = await shard.OnDeviceAsync(ops => Run(shard, ops, batch));
        ExpectedHidden expected = checkpoint.Expected.HiddenChecksums;
        int layers = shard.Model.Layers.Count;
        Check(states[0], checkpoint.Rows("p7.embed"), expected.Embed, "embedding");
        for (int layer = 0; layer < layers; layer++)
            Check(states[1 + layer], checkpoint.Rows($"p7.layer.{layer}"), expected.Layers[layer], $"layer {layer}");
        Check(states[1 + layers], checkpoint.Rows("p7.final_norm"), expected.FinalNorm, "final norm");
    }

    [Theory]
    [MemberData(nameof(ExpertCheckpoints))]
    public async Task Experts_and_their_factors_equal_the_reference(string name)
    {
        using ConformanceCheckpoint checkpoint = ConformanceCheckpoint.Open(name);
        await using LoadedShard shard = await LoadedShard.OpenAsync(checkpoint.Folder);
        int[] ids = checkpoint.Prompt("p33").Ids;
        ForwardBatch batch = TestSequence.Batch(LoadedShard.BlockSize, [(new TestSequence(ids, LoadedShard.Blocks(ids.Length)), ids.Length)], TestSequence.Greedy);
        List<Dictionary<int, float>[]> chosen = await shard.OnDeviceAsync(ops => Route(shard, ops, batch));
        for (int layer = 0; layer < chosen.Count; layer++)
        {
            int[][] experts = checkpoint.IntegerRows($"p33.moe.{layer}.ids");
            float[][] factors = checkpoint.Rows($"p33.moe.{layer}.weights");
            Assert.Equal(checkpoint.Expected.Moe!.Layers[$"{layer}"].ExpertIds, experts);
            for (int row = 0; row < ids.Length; row++)
            {
                Assert.Equal(experts[row].Order(), chosen[layer][row].Keys.Order());
                for (int k = 0; k < experts[row].Length; k++)
                    Assert.Equal(factors[row][k], chosen[layer][row][experts[row][k]], 1e-5f);
            }
        }
    }

    private static List<float[][]> Run(LoadedShard shard, IDeviceOps ops, ForwardBatch batch)
    {
        var states = new List<float[][]>();
        float[][] Read(DeviceBuffer buffer) => [.. Enumerable.Range(0, batch.Rows).Select(row => ops.ReadRow(buffer, row).ToArray())];
        DeviceBatch prepared = ops.Prepare(batch);
        shard.Model.Embed(prepared);
        states.Add(Read(shard.Model.Workspace.Hidden));
        for (int layer = 0; layer < shard.Model.Layers.Count; layer++)
        {
            shard.Model.Attend(prepared, layer);
            shard.Model.Mlp(prepared, layer);
            states.Add(Read(shard.Model.Workspace.Hidden));
        }
        using DeviceBuffer normed = ops.Allocate(batch.Rows, shard.Model.Config.HiddenSize);
        shard.Model.FinalNorm(batch.Rows, normed);
        states.Add(Read(normed));
        return states;
    }

    private static unsafe List<Dictionary<int, float>[]> Route(LoadedShard shard, IDeviceOps ops, ForwardBatch batch)
    {
        var layers = new List<Dictionary<int, float>[]>();
        DeviceBatch prepared = ops.Prepare(batch);
        shard.Model.Embed(prepared);
        for (int layer = 0; layer < shard.Model.Layers.Count; layer++)
        {
            shard.Model.Attend(prepared, layer);
            shard.Model.Mlp(prepared, layer);
            var routing = (CpuRouting)shard.Model.Workspace.Experts!.Routing;
            layers.Add([.. Enumerable.Range(0, batch.Rows).Select(row => Enumerable.Range(row * routing.TopK, routing.TopK)
                .ToDictionary(k => routing.Experts[k], k => routing.Factors[k]))]);
        }
        return layers;
    }

    private static void Check(float[][] actual, float[][] expected, Checksum checksum, string what)
    {
        double absmax = expected.Max(row => row.Max(Math.Abs));
        for (int row = 0; row < expected.Length; row++)
        {
            float worst = expected[row].Zip(actual[row], (a, b) => MathF.Abs(a - b)).Max();
            Assert.True(worst <= RelativeTolerance * absmax, $"{what}, row {row}: differs by {worst}");
        }
        IEnumerable<float> all = actual.SelectMany(row => row);
        Assert.Equal(checksum.Norm, Math.Sqrt(all.Sum(x => (double)x * x)), RelativeTolerance * checksum.Norm);
        Assert.Equal(checksum.Absmax, all.Max(x => (double)Math.Abs(x)), RelativeTolerance * checksum.Absmax);
        Assert.Equal(checksum.Sum, all.Sum(x => (double)x), RelativeTolerance * absmax * Math.Sqrt(all.Count()));
        for (int i = 0; i < checksum.LastRowStart.Length; i++)
            Assert.Equal(checksum.LastRowStart[i], actual[^1][i], RelativeTolerance * (float)absmax);
    }
}
