using Cluster.Contracts;
using Cluster.Grains.Sessions;
using Cluster.Grains.Topology;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Sessions;

public sealed class ReplicaSelectorTests(SessionCluster cluster) : IClassFixture<SessionCluster>
{
    [Fact]
    public async Task LeastLoadedReadyReplica_IsTaken()
    {
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        await topology.Report(Silo("other", "m", replicas: 3, devices: 5));
        await topology.ReportLoad("m/0", new ReplicaLoad { Running = 2, Waiting = 4, Ready = true });
        await topology.ReportLoad("m/1", new ReplicaLoad { Running = 8, Ready = true });
        await topology.ReportLoad("m/2", new ReplicaLoad { Ready = false });
        var selector = new ReplicaSelector(cluster.Grains, new PrefixAffinity(), TimeProvider.System);
        Assert.Equal("m/1", (await selector.SelectAsync("m", default, [], default))?.Key);
        Assert.Equal("m/0", (await selector.SelectAsync("m", default, ["m/1"], default))?.Key);
        Assert.Equal("m/2", (await selector.SelectAsync("m", default, ["m/0", "m/1"], default))?.Key);
        Assert.Null(await selector.SelectAsync("m", default, ["m/0", "m/1", "m/2"], default));
        Assert.Null(await selector.SelectAsync("nobody", default, [], default));
        Assert.False(await selector.IsFullAsync("m", 1, default));
    }

    [Fact]
    public async Task WhatWasSubmittedSinceTheLastReport_Counts()
    {
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        await topology.Report(Silo("even", "e", replicas: 2, devices: 2));
        var selector = new ReplicaSelector(cluster.Grains, new PrefixAffinity(), new Microsoft.Extensions.Time.Testing.FakeTimeProvider());
        string?[] taken = [(await selector.SelectAsync("e", default, [], default))?.Key, (await selector.SelectAsync("e", default, [], default))?.Key];
        Assert.Equal(["e/0", "e/1"], taken.Order());
    }

    [Fact]
    public async Task EqualBeginnings_GoToTheSameReplica_UnlessItIsMuchBusier()
    {
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        await topology.Report(Silo("prefix", "p", replicas: 2, devices: 2));
        var time = new Microsoft.Extensions.Time.Testing.FakeTimeProvider();
        var selector = new ReplicaSelector(cluster.Grains, new PrefixAffinity(), time);
        int[] prompt = [.. Enumerable.Range(0, 100)];
        string first = (await selector.SelectAsync("p", prompt, [], default))!.Key;
        string other = first == "p/0" ? "p/1" : "p/0";
        int[] longer = [.. prompt[..64], 7, 7, 7];
        Assert.Equal(first, (await selector.SelectAsync("p", longer, [], default))?.Key);
        Assert.Equal(other, (await selector.SelectAsync("p", (int[])[9, .. prompt], [], default))?.Key);

        await topology.ReportLoad(first, new ReplicaLoad { Running = 20, Ready = true });
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(other, (await selector.SelectAsync("p", prompt, [], default))?.Key);
    }

    // The replica that would be number 3 is not loaded.
    private static SiloReport Silo(string silo, string model, int replicas, int devices) => new()
    {
        Silo = new SiloDescription(silo, [.. Enumerable.Range(0, devices).Select(index => $"cpu:{index}")], ""),
        Declarations = [Declarations.Of(model)],
        Shards = [.. Enumerable.Range(0, replicas).Select(index => new ShardReport($"{silo}/cpu:{index}/{model}/{index}/0", ShardState.Ready, null, -1))],
    };
}
