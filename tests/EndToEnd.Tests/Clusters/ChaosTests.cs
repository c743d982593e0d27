using System.Diagnostics;
using System.Text.Json.Nodes;
using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.Clusters;

/// <summary>Silos die, freeze and are restarted under load: no token is lost, none comes twice, none differs.</summary>
public sealed class ChaosTests
{
    private const string Model = "llama";
    private const int MaxTokens = 120;
    private static readonly TimeSpan Duration = TimeSpan.FromSeconds(60);
    private static readonly string[] Declaring = ["--model", SharedData.InRepository("tests", "Checkpoints", Model)];
    private static readonly string[] Flags = ["--devices", "cpu:0/1", "--kv-cache-memory-bytes", "8MiB"];

    [Fact]
    public async Task SilosAreKilledForAMinute_EveryStreamCompletesWithItsTokens()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(Silos.Program, 4, Declaring, Flags);
        await cluster.WaitForReplicasAsync(Model, 4);
        var load = new StreamLoad(cluster, Model, workers: 32, MaxTokens);
        await load.LearnAsync();
        load.Start();
        var random = new Random(20251125);
        var replacements = new List<Task>();
        long start = Stopwatch.GetTimestamp();
        int kills = 0;
        while (Stopwatch.GetElapsedTime(start) < Duration)
        {
            await Task.Delay(TimeSpan.FromSeconds(2 + (2 * random.NextDouble())));
            await load.CheckAsync();
            if (cluster.Silos.Count < 3)
                continue; // A replacement is still starting.
            cluster.Kill(cluster.Silos[random.Next(cluster.Silos.Count)]);
            kills++;
            replacements.Add(cluster.AddAsync());
        }

        await Task.WhenAll(replacements);
        await load.EndAsync();
        TestContext.Current.TestOutputHelper?.WriteLine($"{kills} kills, {load.Completed} streams completed, {load.Resumes} resumes");
        Assert.True(kills >= 5 && load.Completed >= 32, $"{kills} kills, {load.Completed} streams, {load.Resumes} resumes");
    }

    [Fact]
    public async Task AShardOfAReplicaOverTwoSilosDies_ASpareDeviceTakesItsPlace()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(Silos.Program, 3, [.. Declaring, "--tensor-parallel-size", "2", "--data-parallel-size", "1"], Flags);
        await cluster.WaitForReplicasAsync(Model, 1, 2);
        var load = new StreamLoad(cluster, Model, workers: 6, MaxTokens);
        await load.LearnAsync();
        load.Start();
        for (int i = 0; i < 3; i++)
        {
            await load.MoreAsync(6);
            JsonNode shard = (await cluster.TopologyAsync())["replicas"]![0]!["shards"]![i % 2]!;
            cluster.Kill(cluster.Silos.Single(silo => SiloCluster.NameOf(silo) == (string)shard["silo"]!));
            await cluster.AddAsync();
            await cluster.WaitForReplicasAsync(Model, 1, 2);
        }

        await load.MoreAsync(6);
        await load.EndAsync();
    }

    [Fact]
    public async Task AFrozenSiloWakesUpLate_ItsOldEpochIsRefused()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(Silos.Program, 3, [.. Declaring, "--tensor-parallel-size", "2", "--data-parallel-size", "1"], Flags);
        await cluster.WaitForReplicasAsync(Model, 1, 2);
        var load = new StreamLoad(cluster, Model, workers: 6, MaxTokens);
        await load.LearnAsync();
        load.Start();
        await load.MoreAsync(6);
        JsonNode replica = (await cluster.TopologyAsync())["replicas"]![0]!;
        using SiloProcess frozen = cluster.Silos.Single(silo => SiloCluster.NameOf(silo) == (string)replica["shards"]![1]!["silo"]!);
        frozen.Process.Freeze();
        cluster.Forget(frozen);
        await cluster.WaitAsync(
            topology => topology["replicas"]!.AsArray().Any(other => (long)other!["epoch"]! > (long)replica["epoch"]! && other["shards"]!.AsArray().All(shard => (string)shard!["silo"]! != SiloCluster.NameOf(frozen))),
            "a newer epoch without the frozen silo");
        frozen.Process.Thaw();
        long thawed = Stopwatch.GetTimestamp();
        await load.MoreAsync(12);
        TestContext.Current.TestOutputHelper?.WriteLine($"12 streams within {Stopwatch.GetElapsedTime(thawed).TotalSeconds:0.0} s after the frozen silo woke up");
        await load.EndAsync();
    }

    [Fact]
    public async Task EverySiloIsRestarted_NoRequestFails()
    {
        Assert.SkipUnless(RedisServer.IsInstalled, RedisServer.MissingReason);
        using SiloCluster cluster = await SiloCluster.StartAsync(Silos.Program, 3, Declaring, [.. Flags, "--shutdown-timeout", "5"]);
        await cluster.WaitForReplicasAsync(Model, 3);
        var load = new StreamLoad(cluster, Model, workers: 12, MaxTokens);
        await load.LearnAsync();
        load.Start();
        foreach (SiloProcess silo in cluster.Silos)
        {
            await load.MoreAsync(12);
            cluster.Forget(silo);
            silo.Process.Terminate();
            Assert.Equal(0, await silo.Process.WaitForExitAsync(TimeSpan.FromSeconds(40)));
            await silo.StartAsync();
            cluster.Remember(silo);
            await cluster.WaitForReplicasAsync(Model, 3);
        }

        await load.EndAsync();
    }
}
