using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Shards;
using Cluster.Silo.Hosting;

namespace Cluster.Silo.Tests.Hosting;

/// <summary>Silos that serve the same model claim different replica numbers.</summary>
public sealed class ReplicaNumberingTests
{
    [Theory]
    [InlineData("", "b", 0)]
    [InlineData("a/0", "b", 1)]
    [InlineData("a/0 c/1", "b", 2)]
    [InlineData("a/1", "b", 0)]
    [InlineData("b/0", "b", 0)]
    [InlineData("a/0 b/0", "b", 1)]
    [InlineData("b/0 c/0", "b", 0)]
    [InlineData("a/0 b/0 c/1", "b", 2)]
    public void TheFirstFreeNumberIsTaken(string claims, string silo, int expected)
    {
        ImmutableArray<LoadedModel> chosen = ReplicaNumbering.Choose(Topology(claims), silo, [Model(silo)]);
        Assert.Equal(new ShardKey(silo, "cpu:0", "org/m", expected, 0).ToString(), chosen.Single().Shard.Key);
    }

    [Theory]
    [InlineData("", "b", 0, 1)]
    [InlineData("a/0 a/1", "b", 2, 3)]
    [InlineData("a/1", "b", 0, 2)]
    [InlineData("b/0 b/1", "b", 0, 1)]
    [InlineData("a/0 b/0 b/1", "b", 2, 1)]
    [InlineData("a/1 b/0 b/1", "b", 0, 2)]
    public void ReplicasOfOneSiloHaveNumbersOfTheirOwn(string claims, string silo, int first, int second)
    {
        // The topology's shards of this silo lie on the device whose number is the replica's.
        ClusterTopology topology = Topology(claims, number => $"cpu:{number}");
        ImmutableArray<LoadedModel> chosen = ReplicaNumbering.Choose(topology, silo, [Model(silo), Model(silo, "cpu:1", 1)]);
        Assert.Equal(
            [new ShardKey(silo, "cpu:0", "org/m", first, 0).ToString(), new ShardKey(silo, "cpu:1", "org/m", second, 0).ToString()],
            chosen.Select(model => model.Shard.Key));
    }

    [Fact]
    public void OtherModelsDoNotCount()
    {
        ClusterTopology topology = Topology("a/0");
        topology = topology with { Replicas = [.. topology.Replicas.Select(replica => replica with { Model = "other" })] };
        Assert.Equal(Model("b").Shard, ReplicaNumbering.Choose(topology, "b", [Model("b")]).Single().Shard);
    }

    private static LoadedModel Model(string silo, string device = "cpu:0", int replica = 0) => new(
        new ModelDescription { Name = "org/m", Path = "/m", Fingerprint = "f", MaxModelLength = 1, Architecture = "llama" },
        new ShardDescription(new ShardKey(silo, device, "org/m", replica, 0).ToString(), silo, device, 0),
        null!,
        new KvBudget(1, 1, 1),
        HasChatTemplate: false);

    private static ClusterTopology Topology(string claims, Func<int, string>? device = null) => new(
        1,
        [],
        [],
        [
            .. claims.Split(' ', StringSplitOptions.RemoveEmptyEntries)
                .Select(claim => (Silo: claim[..1], Number: int.Parse(claim[2..], System.Globalization.CultureInfo.InvariantCulture)))
                .GroupBy(claim => claim.Number)
                .Select(claim => new ReplicaDescription
                {
                    Key = $"org/m/{claim.Key}",
                    Model = "org/m",
                    Epoch = 1,
                    Shards = [.. claim.Select(c => new ShardDescription(new ShardKey(c.Silo, device?.Invoke(c.Number) ?? "cpu:0", "org/m", c.Number, 0).ToString(), c.Silo, device?.Invoke(c.Number) ?? "cpu:0", 0))],
                }),
        ]);
}
