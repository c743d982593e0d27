using Cluster.Contracts;
using Cluster.Grains.Topology;

namespace Cluster.Grains.Tests.Topology;

public sealed class TopologySnapshotTests
{
    [Fact]
    public void Replicas_AreDerivedFromShards()
    {
        SiloRegistration a = Silo("a", "a/cpu:0/org/model/0/0", "a/cpu:1/org/model/1/0"), b = Silo("b", "b/cpu:0/org/model/1/1", "b/cpu:1/other/0/1");
        var loads = new Dictionary<string, ReplicaLoad> { ["org/model/1"] = new() { Running = 3, Ready = true } };
        ClusterTopology topology = TopologySnapshot.For(7, [b, a], new Dictionary<string, long> { ["org/model/0"] = 4 }, loads);
        Assert.Equal(["org/model/0", "org/model/1", "other/0"], topology.Replicas.Select(replica => replica.Key));
        Assert.Equal([true, true, false], topology.Replicas.Select(replica => replica.Load.Ready));
        Assert.Equal(("org/model", 4L), (topology.Replicas[0].Model, topology.Replicas[0].Epoch));
        Assert.Equal(["a/cpu:1/org/model/1/0", "b/cpu:0/org/model/1/1"], topology.Replicas[1].Shards.Select(shard => shard.Key));
        Assert.Equal(3, topology.Replicas[1].Load.Running);
        Assert.Equal((7L, "a"), (topology.Version, topology.Silos[0].Name));
    }

    private static SiloRegistration Silo(string name, params string[] shards) => new(
        new SiloDescription(name, [], ""),
        [],
        [.. shards.Select(key => new ShardDescription(key, name, key.Split('/')[1], key[^1] - '0'))]);
}
