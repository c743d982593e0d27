using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Topology;
using Cluster.TestKit;
using CsCheck;

namespace Cluster.Grains.Tests.Topology;

public sealed class TopologyPlanTests
{
    [Fact]
    public void OneModel_FillsAllDevices() => Assert.Equal(
        ["m/0: b/cpu:0", "m/1: a/cpu:0", "m/2: a/cpu:1"], Plan([Model("m")], ["a/cpu:0", "a/cpu:1", "b/cpu:0"]));

    [Fact]
    public void ModelsTakeTurns_AndShareWhenDevicesAreFew()
    {
        Assert.Equal(["m/0: a/cpu:0", "m/1: a/cpu:2", "n/0: a/cpu:1"], Plan([Model("m"), Model("n")], ["a/cpu:0", "a/cpu:1", "a/cpu:2"]));
        Assert.Equal(["m/0: a/cpu:0", "n/0: a/cpu:0"], Plan([Model("m"), Model("n")], ["a/cpu:0"]));
    }

    [Fact]
    public void ReplicasOfSeveralShards_StayTogether() => Assert.Equal(
        ["m/0: b/cpu:0 b/cpu:1", "m/1: a/cpu:0 c/cpu:0"], Plan([Model("m", 2)], ["a/cpu:0", "b/cpu:0", "b/cpu:1", "c/cpu:0", "d/cpu:0"]));

    [Fact]
    public void Stages_CrossSilosBeforeTensorRanksDo() => Assert.Equal(
        ["m/0: b/cpu:0 b/cpu:1 a/cpu:0 a/cpu:1"], Plan([Model("m", 2, 2)], ["a/cpu:0", "a/cpu:1", "a/cpu:2", "b/cpu:0", "b/cpu:1", "c/cpu:0"]));

    [Fact]
    public void AsManyAsAskedFor_AndNoMoreThanFit()
    {
        Assert.Equal(["m/0: a/cpu:0"], Plan([Model("m", replicas: 1)], ["a/cpu:0", "a/cpu:1"]));
        Assert.Equal(["m/0: a/cpu:0", "m/1: a/cpu:1"], Plan([Model("m", replicas: 5)], ["a/cpu:0", "a/cpu:1"]));
        Assert.Empty(Plan([Model("m", replicas: 0)], ["a/cpu:0"]));
        Assert.Empty(Plan([Model("m", 3)], ["a/cpu:0", "a/cpu:1"]));
    }

    [Fact]
    public void Surplus_LeavesFromTheTop_UnreadyFirst()
    {
        PlacedReplica[] placed = [Placed("m", 0, "a/cpu:0"), Placed("m", 1, "a/cpu:1"), Placed("m", 2, "a/cpu:2")];
        Assert.Equal(["m/0: a/cpu:0", "m/2: a/cpu:2"], Plan([Model("m", replicas: 2)], ["a/cpu:0", "a/cpu:1", "a/cpu:2"], placed, ready: ["m/0", "m/2"]));
    }

    [Fact]
    public void LostRank_GetsASpareDevice_TheOthersStay() => Assert.Equal(
        ["m/0: a/cpu:0 c/cpu:0"], Plan([Model("m", 2, replicas: 1)], ["a/cpu:0", "c/cpu:0"], [Placed("m", 0, "a/cpu:0", "b/cpu:0")]));

    [Fact]
    public void LostRank_WithoutASpare_KeepsTheRestInPlace() => Assert.Equal(
        ["m/0: a/cpu:0 b/cpu:0"], Plan([Model("m", 2)], ["a/cpu:0"], [Placed("m", 0, "a/cpu:0", "b/cpu:0")]));

    [Fact]
    public void ReplicaOfADeadSilo_ComesBackElsewhereUnderAnotherNumber() => Assert.Equal(
        ["m/1: a/cpu:0"], Plan([Model("m", replicas: 1)], ["a/cpu:0"], [Placed("m", 0, "b/cpu:0")]));

    [Fact]
    public void DrainedSilo_IsLeftWhenTheOthersAreReady()
    {
        PlacedReplica[] placed = [Placed("m", 0, "a/cpu:0")];
        string[] both = ["m/0: a/cpu:0", "m/1: b/cpu:0"];
        Assert.Equal(both, Plan([Model("m", replicas: 1)], ["b/cpu:0"], placed, ready: ["m/0"], leaving: ["a/cpu:0"]));
        PlacedReplica[] next = [.. placed, Placed("m", 1, "b/cpu:0")];
        Assert.Equal(both, Plan([Model("m", replicas: 1)], ["b/cpu:0"], next, ready: ["m/0"], leaving: ["a/cpu:0"]));
        Assert.Equal([both[1]], Plan([Model("m", replicas: 1)], ["b/cpu:0"], next, ready: ["m/0", "m/1"], leaving: ["a/cpu:0"]));
    }

    [Fact]
    public void DrainedSilo_KeepsWhatHasNowhereToGo() => Assert.Equal(
        ["m/0: a/cpu:0"], Plan([Model("m")], [], [Placed("m", 0, "a/cpu:0")], ready: ["m/0"], leaving: ["a/cpu:0"]));

    [Fact]
    public void DrainedSilo_SharesADeviceRatherThanStaying() => Assert.Equal(
        ["m/0: a/cpu:0", "m/1: b/cpu:0", "n/0: b/cpu:0"],
        Plan([Model("m", replicas: 1), Model("n", replicas: 1)], ["b/cpu:0"], [Placed("m", 0, "a/cpu:0"), Placed("n", 0, "b/cpu:0")], leaving: ["a/cpu:0"]));

    [Fact]
    public void OtherLayout_BesideTheOldOne_WhereThereIsRoom()
    {
        PlacedReplica[] placed = [Placed("m", 0, "a/cpu:0")];
        Assert.Equal(["m/0: a/cpu:0", "m/1: a/cpu:1 a/cpu:2"], Plan([Model("m", 2, replicas: 1)], ["a/cpu:0", "a/cpu:1", "a/cpu:2"], placed, ready: ["m/0"]));
    }

    [Fact]
    public void OtherLayout_TakesTheDevicesOfTheOldOne_WhereThereIsNoRoom() => Assert.Equal(
        ["m/2: a/cpu:0 a/cpu:1"], Plan([Model("m", 2)], ["a/cpu:0", "a/cpu:1"], [Placed("m", 0, "a/cpu:0"), Placed("m", 1, "a/cpu:1")], ready: ["m/0", "m/1"]));

    [Fact]
    public void OtherLayout_ThatFitsNowhere_TakesNothingAway() => Assert.Equal(
        ["m/0: a/cpu:0", "m/1: a/cpu:1"], Plan([Model("m", 3)], ["a/cpu:0", "a/cpu:1"], [Placed("m", 0, "a/cpu:0"), Placed("m", 1, "a/cpu:1")], ready: ["m/0", "m/1"]));

    [Fact]
    public void SiloThatCannotLoadTheModel_IsNotUsedForIt() => Assert.Equal(
        ["m/0: b/cpu:0", "n/0: a/cpu:0"],
        Plan([Model("m"), Model("n", replicas: 1)], ["a/cpu:0", "b/cpu:0"], [Placed("m", 0, "a/cpu:0")], unusable: [("m", "a")]));

    [Fact]
    public void PlanningAgain_ChangesNothing_AndDevicesAreNotOverbooked() =>
        Gen.Select(Gen.Int[1, 4], Gen.Int[1, 3], Gen.Int[1, 3], Gen.Int[0, 4], Gen.Int[1, 2]).Sample((silos, devices, tensor, replicas, models) =>
        {
            string[] places = [.. from silo in Enumerable.Range(0, silos) from device in Enumerable.Range(0, devices) select $"s{silo}/cpu:{device}"];
            ModelDeclaration[] declared = [.. Enumerable.Range(0, models).Select(index => Model($"m{index}", tensor, 1, index == 0 && replicas > 0 ? replicas : null))];
            TopologyPlan first = TopologyPlan.For(State(declared, places));
            TopologyPlan second = TopologyPlan.For(State(declared, places) with { Placed = first.Replicas, NextNumbers = first.NextNumbers, Ready = first.Replicas.Select(replica => replica.Key).ToHashSet() });
            Assert.Equal(first.Replicas, second.Replicas);
            foreach (IGrouping<DevicePlace, PlacedReplica> device in first.Replicas.SelectMany(replica => replica.Places.Select(place => (place, replica))).GroupBy(pair => pair.place, pair => pair.replica))
                Assert.True(device.Count() == 1 || device.All(replica => replica.Layout.Shards == 1) && places.Length < models);
            Assert.All(first.Replicas, replica => Assert.Equal(replica.Layout.Shards, replica.Places.Distinct().Count()));
        });

    private static ModelDeclaration Model(string name, int tensor = 1, int stages = 1, int? replicas = null) => Declarations.Of(name, new ModelLayout(tensor, stages), replicas);

    private static PlacedReplica Placed(string model, int number, params string[] places) =>
        new(model, number, new ModelLayout(places.Length, 1), [.. places.Select(Place)]);

    private static DevicePlace Place(string text) => new(text.Split('/')[0], text.Split('/')[1]);

    private static PlanningState State(ModelDeclaration[] declared, string[] devices) => new() { Declarations = declared, Devices = [.. devices.Select(Place)] };

    private static string[] Plan(
        ModelDeclaration[] declared, string[] devices, PlacedReplica[]? placed = null, string[]? ready = null, string[]? leaving = null, (string, string)[]? unusable = null)
    {
        placed ??= [];
        TopologyPlan plan = TopologyPlan.For(State(declared, devices) with
        {
            Placed = placed,
            Ready = (ready ?? []).ToHashSet(),
            Leaving = (leaving ?? []).Select(Place).ToHashSet(),
            Unusable = (unusable ?? []).ToHashSet(),
            NextNumbers = placed.GroupBy(replica => replica.Model).ToImmutableDictionary(group => group.Key, group => group.Max(replica => replica.Number) + 1),
        });
        return [.. plan.Replicas.Select(replica => $"{replica.Key}: {string.Join(' ', replica.Places.Select(place => $"{place.Silo}/{place.Device}"))}")];
    }
}
