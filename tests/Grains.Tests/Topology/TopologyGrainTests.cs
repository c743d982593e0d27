using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Grains.Tests.Sessions;
using Cluster.Grains.Topology;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Topology;

public sealed class TopologyGrainTests
{
    private const string Replica = TestModels.TokensOnly + "/0";

    [Fact]
    public async Task Epochs_GrowOverRestarts()
    {
        var storage = new FaultyStorage();
        long first, second;
        await using (SessionCluster cluster = await new SessionCluster { Storage = storage }.StartAsync())
        {
            ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
            first = (await topology.OpenReplica(Replica)).Epoch;
            second = (await topology.OpenReplica(Replica)).Epoch;
            ReplicaDescription described = Assert.Single((await topology.Get(CancellationToken.None)).Replicas, replica => replica.Key == Replica);
            Assert.Equal(second, described.Epoch);
        }

        await using SessionCluster restarted = await new SessionCluster { Storage = storage }.StartAsync();
        long third = (await restarted.Grains.GetGrain<ITopologyControlGrain>(0).OpenReplica(Replica)).Epoch;
        Assert.Equal([1, 2, 3], [first, second, third]);
    }

    [Fact]
    public async Task ReplicaOfASiloProcessThatIsGone_IsNotThere()
    {
        var storage = new FaultyStorage();
        await using (await new SessionCluster { Storage = storage }.StartAsync())
        {
        }

        await using SessionCluster restarted = await new SessionCluster { Storage = storage, HasReplica = false }.StartAsync();
        ITopologyControlGrain topology = restarted.Grains.GetGrain<ITopologyControlGrain>(0);
        Assert.DoesNotContain((await topology.Get(CancellationToken.None)).Replicas, replica => replica.Load.Ready);
        await Assert.ThrowsAsync<ReplicaUnavailableException>(() => topology.OpenReplica(Replica));
        await restarted.ReportReplicaAsync();
        Assert.Equal(1, (await topology.OpenReplica(Replica)).Epoch);
    }

    [Fact]
    public async Task EpochThatCouldNotBeWritten_IsNotGiven()
    {
        await using SessionCluster cluster = await new SessionCluster().StartAsync();
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        await topology.OpenReplica(Replica);
        cluster.Storage.Before = (operation, name) => operation == "write" && name == "topology"
            ? Task.FromException(new IOException("disk full"))
            : Task.CompletedTask;
        OrleansException failed = await Assert.ThrowsAsync<OrleansException>(() => topology.OpenReplica(Replica));
        Assert.Contains("disk full", failed.Message);
        cluster.Storage.Before = null;
        // The activation went, and with it what silos had said.
        await cluster.ReportReplicaAsync();
        Assert.Equal(2, (await topology.OpenReplica(Replica)).Epoch);
    }

    [Fact]
    public async Task Loads_AreReported()
    {
        await using SessionCluster cluster = await new SessionCluster().StartAsync();
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        await topology.ReportLoad(Replica, new ReplicaLoad { Waiting = 9, Ready = true });
        ClusterTopology snapshot = await topology.Get(CancellationToken.None);
        Assert.Equal(9, snapshot.Replicas.Single(replica => replica.Key == Replica).Load.Waiting);
    }

    [Fact]
    public async Task ShardsThatRunAlthoughTheStoreLostThePlan_AreTakenOver_AndTheirEpochsAreNotGivenAgain()
    {
        await using SessionCluster cluster = await new SessionCluster { HasReplica = false }.StartAsync();
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        SiloOrders orders = await topology.Report(new SiloReport
        {
            Silo = new SiloDescription("lost", ["cpu:0", "cpu:1"], ""),
            Declarations = [Declarations.Of("m", new ModelLayout(2, 1))],
            Shards = [new ShardReport("lost/cpu:1/m/3/0", ShardState.Ready, null, 7), new ShardReport("lost/cpu:0/m/3/1", ShardState.Ready, null, 6)],
        });
        Assert.Equal(["lost/cpu:1/m/3/0", "lost/cpu:0/m/3/1"], orders.Shards.Select(shard => shard.Key));
        ReplicaAssignment assignment = await topology.OpenReplica("m/3");
        Assert.Equal(8, assignment.Epoch);
        Assert.Equal((2, 32), (assignment.Endpoints.Length, assignment.Secret.Length));
    }

    [Fact]
    public async Task AnotherModelUnderTheSameName_IsRefused_WithBothPaths()
    {
        await using SessionCluster cluster = await new SessionCluster { HasReplica = false }.StartAsync();
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        SiloReport report = new() { Silo = new SiloDescription("one", ["cpu:0"], ""), Declarations = [Declarations.Of("m")], Shards = [] };
        await topology.Report(report);
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(() => topology.Report(report with
        {
            Silo = new SiloDescription("two", ["cpu:0"], ""),
            Declarations = [Declarations.Of("m", fingerprint: "fedcba9876543210")],
        }));
        Assert.Equal(RejectionReason.ModelChanged, refused.Reason);
        Assert.Contains("--served-model-name", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ASiloThatIsAlone_StartsWithWhatItsFlagsSay_AndKeepsTheScaleWhileItRuns()
    {
        await using SessionCluster cluster = await new SessionCluster { HasReplica = false }.StartAsync();
        ITopologyControlGrain topology = cluster.Grains.GetGrain<ITopologyControlGrain>(0);
        SiloReport report = new() { Silo = new SiloDescription("alone", ["cpu:0", "cpu:1"], ""), Declarations = [Declarations.Of("m")], ReplaceDeclarations = true, Shards = [] };
        await topology.Report(report);
        await topology.Scale("m", new ModelScale { TensorParallelSize = 2 });
        Assert.Equal(new ModelLayout(2, 1), (await topology.Report(report)).Declarations.Single().Layout);
    }
}
