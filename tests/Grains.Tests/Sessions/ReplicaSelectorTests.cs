using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Sessions;
using Cluster.Grains.Topology;

namespace Cluster.Grains.Tests.Sessions;

public sealed class ReplicaSelectorTests(SessionCluster cluster) : IClassFixture<SessionCluster>
{
    [Fact]
    public async Task LeastLoadedReadyReplica_IsTaken()
    {
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        ImmutableArray<ShardDescription> shards =
            [.. Enumerable.Range(0, 3).Select(index => new ShardDescription($"other/cpu:{index}/m/{index}/0", "other", $"cpu:{index}", 0)),
                new ShardDescription("other/cpu:3/m/3/1", "other", "cpu:3", 1)];
        await topology.Join(new SiloRegistration(new SiloDescription("other", [], ""), [], shards));
        await topology.ReportLoad("m/0", new ReplicaLoad { Running = 2, Waiting = 4, Ready = true });
        await topology.ReportLoad("m/1", new ReplicaLoad { Running = 8, Ready = true });
        await topology.ReportLoad("m/2", new ReplicaLoad { Ready = false });
        var selector = new ReplicaSelector(cluster.Grains, TimeProvider.System);
        Assert.Equal("m/1", (await selector.SelectAsync("m", [], default))?.Key);
        Assert.Equal("m/0", (await selector.SelectAsync("m", ["m/1"], default))?.Key);
        Assert.Equal("m/2", (await selector.SelectAsync("m", ["m/0", "m/1"], default))?.Key);
        Assert.Null(await selector.SelectAsync("m", ["m/0", "m/1", "m/2"], default));
        Assert.Null(await selector.SelectAsync("nobody", [], default));
        Assert.False(await selector.IsFullAsync("m", 1, default));
    }

    [Fact]
    public async Task WhatWasSubmittedSinceTheLastReport_Counts()
    {
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        await topology.Join(new SiloRegistration(
            new SiloDescription("even", [], ""), [], [.. Enumerable.Range(0, 2).Select(index => new ShardDescription($"even/cpu:{index}/e/{index}/0", "even", "", 0))]));
        var selector = new ReplicaSelector(cluster.Grains, new Microsoft.Extensions.Time.Testing.FakeTimeProvider());
        string?[] taken = [(await selector.SelectAsync("e", [], default))?.Key, (await selector.SelectAsync("e", [], default))?.Key];
        Assert.Equal(["e/0", "e/1"], taken.Order());
    }
}
