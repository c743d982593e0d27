using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Kernels.Tests.Models;
using Cluster.TestKit;

namespace Cluster.Kernels.Tests.Cpu;

public sealed class SharedWeightsTests
{
    [Fact]
    public void Equal_sources_are_packed_once_and_freed_by_the_last_owner()
    {
        using SafetensorsReader reader = SafetensorsReader.Open(SharedData.InRepository("tests", "Checkpoints", "llama"));
        HostTensor matrix = reader.Tensor("model.layers.0.mlp.down_proj.weight");
        using var first = new CpuOps(new DeviceId("cpu", 0), 1, CpuPaths.Best);
        using var second = new CpuOps(new DeviceId("cpu", 1), 1, CpuPaths.Best);
        string identity = Guid.NewGuid().ToString();
        var source = new LinearSource([matrix], [], LinearRole.ColumnParallel, null, identity);
        LinearWeight one = first.LoadLinear(source), two = second.LoadLinear(source);
        Assert.Same(one, two);
        one.Dispose();
        Assert.False(two.IsFree);
        two.Dispose();
        Assert.True(two.IsFree);
        using LinearWeight again = first.LoadLinear(source);
        Assert.NotSame(one, again);
        Assert.False(again.IsFree);
    }

    [Fact]
    public void Another_type_role_or_no_identity_is_packed_apart()
    {
        using SafetensorsReader reader = SafetensorsReader.Open(SharedData.InRepository("tests", "Checkpoints", "llama"));
        HostTensor matrix = reader.Tensor("model.layers.0.mlp.down_proj.weight");
        using var ops = new CpuOps(new DeviceId("cpu", 0), 1, CpuPaths.Best);
        var source = new LinearSource([matrix], [], LinearRole.ColumnParallel, null, Guid.NewGuid().ToString());
        LinearSource[] sources = [source, source with { Type = DType.BFloat16 }, source with { Role = LinearRole.RowParallel }, source with { Identity = null }, source with { Identity = null }];
        LinearWeight[] weights = [.. sources.Select(ops.LoadLinear)];
        Assert.Equal(weights.Length, weights.Distinct().Count());
        foreach (LinearWeight weight in weights)
            weight.Dispose();
    }

    [Fact]
    public async Task A_model_outlives_another_that_shared_its_weights()
    {
        string folder = SharedData.InRepository("tests", "Checkpoints", "mixtral");
        LoadedShard first = await LoadedShard.OpenAsync(folder);
        await using LoadedShard second = await LoadedShard.OpenAsync(folder);
        float[][] expected = await LogitsAsync(first);
        await first.DisposeAsync();
        float[][] actual = await LogitsAsync(second);
        Assert.Equal(expected[^1], actual[^1]);
    }

    private static Task<float[][]> LogitsAsync(LoadedShard shard) => shard.LogitsAsync((new TestSequence([1, 2, 3, 4, 5], LoadedShard.Blocks(5)), 5));
}
