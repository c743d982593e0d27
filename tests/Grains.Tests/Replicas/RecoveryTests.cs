using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Replicas;

/// <summary>A failed step is lost as a whole; the tokens do not show it.</summary>
public sealed class RecoveryTests
{
    [Fact]
    public async Task FailedSteps_OpenNewEpochs_AndKeepTheTokens()
    {
        int step = 0;
        await using ClusterFixture cluster = await new ClusterFixture
        {
            Engine = (_, _) => new FakeShardEngine { BeforeStep = _ => ++step is 4 or 9 ? throw new InvalidOperationException("device lost") : Task.CompletedTask },
        }.StartAsync();
        IEnumerable<Task> runs = Enumerable.Range(0, 8).Select(async i =>
        {
            int[] prompt = Groups.Prompt(6 + i, i);
            Answer answer = (await Groups.RunAsync(cluster.Replica(), Groups.Group($"s{i}", Groups.Start(prompt, 15))))[0];
            Assert.Equal(await FakeReference.GenerateAsync(prompt, 15), answer.Ids);
        });
        await Task.WhenAll(runs);
        Assert.Equal(3, cluster.Topology.Epoch);
    }

    [Fact]
    public async Task ReloadedEngine_WithFewerBlocks_GoesOn()
    {
        var gate = new StepGate();
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine { BeforeStep = gate.WaitAsync } }.StartAsync();
        int[] prompt = Groups.Prompt(12);
        Task<Dictionary<int, Answer>> run = Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(prompt, 20)));
        gate.Release(5);
        await TargetReplicaTests.WaitUntilAsync(() => Task.FromResult(cluster.Fake().Steps == 5));
        cluster.Load(0, 0, new FakeShardEngine(blocks: 9));
        gate.Release(1);
        Assert.Equal(await FakeReference.GenerateAsync(prompt, 20), (await run)[0].Ids);
        Assert.Equal(2, cluster.Topology.Epoch);
        Assert.Equal(9, (await cluster.Replica().GetLoad()).Blocks);
    }

    [Fact]
    public async Task OnlyTheGroupThatAlwaysFails_IsGivenUp()
    {
        const int poison = 96;
        await using ClusterFixture cluster = await new ClusterFixture
        {
            Engine = (_, _) => new FakeShardEngine
            {
                BeforeStep = batch => batch.TokenIds.AsSpan(0, batch.Rows).IndexOf(poison) >= 0 ? throw new InvalidOperationException("poison") : Task.CompletedTask,
            },
        }.StartAsync();
        Task<Dictionary<int, Answer>> bad = Groups.RunAsync(cluster.Replica(), Groups.Group("bad", Groups.Start([poison, 1], 5)));
        IEnumerable<Task> good = Enumerable.Range(0, 12).Select(async i =>
        {
            (int[] prompt, int[] expected) = await WithoutAsync(poison, i);
            Assert.Equal(expected, (await Groups.RunAsync(cluster.Replica(), Groups.Group($"good{i}", Groups.Start(prompt, expected.Length))))[0].Ids);
        });
        await Task.WhenAll(good);
        ReplicaFailedException failure = await Assert.ThrowsAsync<ReplicaFailedException>(() => bad);
        Assert.Contains("poison", failure.Message, StringComparison.Ordinal);
    }

    // A prompt and its continuation up to the token, which must not be fed.
    private static async Task<(int[] Prompt, int[] Expected)> WithoutAsync(int token, int seed)
    {
        int[] prompt = [.. Groups.Prompt(6, seed).Select(id => id % token)];
        int[] expected = await FakeReference.GenerateAsync(prompt, 12, stopTokens: [token]);
        return (prompt, expected);
    }

    [Fact]
    public async Task UnloadedShard_IsRefused_AndServesOnceItIsBack()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        cluster.Topology.BeforeOpen = () => throw new RequestRejectedException(RejectionReason.Overloaded, "loading", retryAfterSeconds: 1);
        await Assert.ThrowsAsync<RequestRejectedException>(() => Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(Groups.Prompt(4), 3))));
        cluster.Topology.BeforeOpen = null;
        Assert.Equal(
            await FakeReference.GenerateAsync(Groups.Prompt(4), 3),
            (await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(Groups.Prompt(4), 3))))[0].Ids);
    }

    [Fact]
    public async Task OneFailedShardOfSeveral_FailsTheStep_ThoughAnotherHangs()
    {
        var hang = new TaskCompletionSource();
        int calls = 0;
        await using ClusterFixture cluster = await new ClusterFixture
        {
            ShardsPerReplica = 2,
            Engine = (_, rank) => new FakeShardEngine
            {
                BeforeStep = _ => Interlocked.Increment(ref calls) switch
                {
                    3 or 4 when rank == 0 => hang.Task,
                    3 or 4 => throw new InvalidOperationException("peer lost"),
                    _ => Task.CompletedTask,
                },
            },
        }.StartAsync();
        int[] prompt = Groups.Prompt(6);
        Answer answer = (await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(prompt, 5))))[0];
        Assert.Equal(await FakeReference.GenerateAsync(prompt, 5), answer.Ids);
        Assert.Equal(2, cluster.Topology.Epoch);
        hang.SetResult();
    }
}
