using Cluster.Contracts;
using Cluster.Grains.Topology;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Topology;

public sealed class TopologySnapshotTests
{
    [Fact]
    public void Replicas_AreReadyWhenAllTheirShardsAre()
    {
        var state = new TopologyState
        {
            Declarations = { ["org/model"] = Declarations.Of("org/model", new ModelLayout(2, 1)) },
            Replicas = [Placed("org/model", 0, "a/cpu:0", "a/cpu:1"), Placed("org/model", 1, "b/cpu:0", "b/cpu:1")],
            Epochs = { ["org/model/0"] = 4 },
        };
        ShardReport[] reports = [Ready("a/cpu:0/org/model/0/0"), Ready("a/cpu:1/org/model/0/1"), Ready("b/cpu:0/org/model/1/0"), new("b/cpu:1/org/model/1/1", ShardState.Failed, "no such file", -1)];
        var loads = new Dictionary<string, ReplicaLoad> { ["org/model/0"] = new() { Running = 3, Ready = true } };
        ClusterTopology topology = TopologySnapshot.For(7, [Silo("b"), Silo("a")], state, reports.ToDictionary(report => report.Key), loads);
        Assert.Equal([true, false], topology.Replicas.Select(replica => replica.Load.Ready));
        Assert.Equal(("org/model", 4L, 3), (topology.Replicas[0].Model, topology.Replicas[0].Epoch, topology.Replicas[0].Load.Running));
        Assert.Equal(["b/cpu:0/org/model/1/0", "b/cpu:1/org/model/1/1"], topology.Replicas[1].Shards.Select(shard => shard.Key));
        Assert.Equal((ShardState.Failed, "no such file"), (topology.Replicas[1].Shards[1].State, topology.Replicas[1].Shards[1].Problem));
        Assert.Equal((7L, "a", "org/model"), (topology.Version, topology.Silos[0].Name, topology.Declarations[0].Description.Name));
    }

    private static PlacedReplica Placed(string model, int number, params string[] places) => new(
        model, number, new ModelLayout(places.Length, 1), [.. places.Select(place => new DevicePlace(place.Split('/')[0], place.Split('/')[1]))]);

    private static ShardReport Ready(string key) => new(key, ShardState.Ready, null, -1);

    private static SiloDescription Silo(string name) => new(name, [], "");
}
