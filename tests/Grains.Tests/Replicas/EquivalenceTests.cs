using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Kernels.Sampling;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Replicas;

/// <summary>Scheduling may change speed, never tokens: everything equals the sequence alone.</summary>
public sealed class EquivalenceTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    [InlineData(64)]
    public async Task AnyChunkSize_EqualsAlone(int budget)
    {
        await using ClusterFixture cluster = await new ClusterFixture { Configure = options => options.MaxNumBatchedTokens = budget }.StartAsync();
        int[] prompt = Groups.Prompt(23);
        Answer answer = (await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(prompt, 12))))[0];
        Assert.Equal(await FakeReference.GenerateAsync(prompt, 12), answer.Ids);
        Assert.Equal(SequenceEnd.Length, answer.End);
        Assert.Equal(((23 + budget - 1) / budget) + 11, cluster.Fake().Steps);
    }

    [Fact]
    public async Task SixtyFourGroups_EqualOneByOne()
    {
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine(blocks: 1000, maxBatchedTokens: 2000, maxSequences: 64) }.StartAsync();
        await CheckManyAsync(cluster, groups: 64);
        Assert.Equal(64, cluster.Fake().LargestStep);
    }

    [Fact]
    public async Task TinyPool_PreemptsAndEqualsOneByOne()
    {
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine(blocks: 24) }.StartAsync();
        using var preemptions = new PreemptionCounter(cluster);
        await CheckManyAsync(cluster, groups: 64);
        Assert.True(preemptions.Count > 0, "Nobody was preempted: the pool was not tiny.");
    }

    [Fact]
    public async Task WithoutPrefixCache_EqualsOneByOne()
    {
        await using ClusterFixture cluster = await new ClusterFixture
        {
            Configure = options => options.EnablePrefixCaching = false,
            Engine = (_, _) => new FakeShardEngine(blocks: 40),
        }.StartAsync();
        await CheckManyAsync(cluster, groups: 24);
    }

    [Fact]
    public async Task SeveralShards_AreFedTheSame()
    {
        await using ClusterFixture cluster = await new ClusterFixture { ShardsPerReplica = 3, Silos = 2, Replicas = 2 }.StartAsync();
        foreach (int replica in new[] { 0, 1 })
        {
            int[] prompt = Groups.Prompt(17, replica);
            Answer answer = (await Groups.RunAsync(cluster.Replica(replica), Groups.Group("a", Groups.Start(prompt, 9))))[0];
            Assert.Equal(await FakeReference.GenerateAsync(prompt, 9), answer.Ids);
            Assert.All(new[] { 0, 1, 2 }, rank => Assert.Equal(cluster.Fake(replica).Rows, cluster.Fake(replica, rank).Rows));
        }
    }

    [Fact]
    public async Task PrefixHits_EqualAlone()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        int[] prompt = Groups.Prompt(21);
        Answer first = (await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(prompt, 8))))[0];
        Answer again = (await Groups.RunAsync(cluster.Replica(), Groups.Group("b", Groups.Start(prompt, 8))))[0];
        int[] longer = [.. prompt, .. first.Ids, 5, 6];
        Answer next = (await Groups.RunAsync(cluster.Replica(), Groups.Group("c", Groups.Start(longer, 8))))[0];
        Assert.Equal((0, 20, 28), (first.CachedTokens, again.CachedTokens, next.CachedTokens));
        Assert.Equal(first.Ids, again.Ids);
        Assert.Equal(await FakeReference.GenerateAsync(longer, 8), next.Ids);
    }

    [Fact]
    public async Task Choices_ShareThePrompt_AndDrawTheirOwnTokens()
    {
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine(blocks: 200) }.StartAsync();
        int[] prompt = Groups.Prompt(30);
        var sampling = new SamplingOptions { Temperature = 0.8f };
        SequenceGroup group = Groups.Group("a", [.. Enumerable.Range(0, 5).Select(choice => Groups.Start(prompt, 10, choice))]) with { Sampling = sampling, Seed = 99 };
        Dictionary<int, Answer> answers = await Groups.RunAsync(cluster.Replica(), group);
        for (int choice = 0; choice < 5; choice++)
        {
            var parameters = new SamplingParameters { Temperature = 0.8f };
            Assert.Equal(await FakeReference.GenerateAsync(prompt, 10, parameters, 99, choice), answers[choice].Ids);
            Assert.Equal(choice == 0 ? 0 : 28, answers[choice].CachedTokens);
        }

        Assert.Equal(30 + 9 + (4 * (2 + 9)), cluster.Fake().Rows);
    }

    [Fact]
    public async Task Resume_GoesOnWithTheSameTokens()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        int[] prompt = Groups.Prompt(10);
        int[] expected = await FakeReference.GenerateAsync(prompt, 20);
        for (int given = 0; given <= 20; given += 4)
        {
            Answer answer = (await Groups.RunAsync(cluster.Replica(), Groups.Group($"s{given}", Groups.Start(prompt, 20, generated: expected[..given]))))[0];
            Assert.Equal(expected[given..], answer.Ids);
        }
    }

    // The first step waits until all groups have come.
    private static async Task CheckManyAsync(ClusterFixture cluster, int groups)
    {
        var all = new TaskCompletionSource();
        cluster.Fake().BeforeStep = _ => all.Task;
        var penalised = new SamplingOptions { Temperature = 0.5f, FrequencyPenalty = 0.5f, RepetitionPenalty = 1.2f };
        var parameters = new SamplingParameters { Temperature = 0.5f, FrequencyPenalty = 0.5f, RepetitionPenalty = 1.2f };
        Task[] runs = [.. Enumerable.Range(0, groups).Select(async i =>
        {
            int[] prompt = Groups.Prompt(3 + (i % 20), i % 8);
            bool greedy = i % 2 == 0;
            SequenceGroup group = Groups.Group($"s{i}", Groups.Start(prompt, 12)) with { Sampling = greedy ? Groups.Greedy : penalised, Seed = (ulong)i };
            Answer answer = (await Groups.RunAsync(cluster.Replica(), group))[0];
            Assert.Equal(await FakeReference.GenerateAsync(prompt, 12, greedy ? null : parameters, (ulong)i), answer.Ids);
        })];
        await TargetReplicaTests.WaitUntilAsync(async () => await cluster.Replica().GetLoad() is { } queued && queued.Running + queued.Waiting == groups);
        all.SetResult();
        await Task.WhenAll(runs);
        ReplicaLoad load = await cluster.Replica().GetLoad();
        Assert.Equal((0, 0, 0.0, groups * 12L), (load.Running, load.Waiting, load.KvUsage, load.GeneratedTokens));
    }
}
