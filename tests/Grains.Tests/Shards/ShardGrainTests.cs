using System.Collections.Immutable;
using Cluster.Grains.Shards;
using Cluster.Grains.Tests.Replicas;
using Cluster.TestKit;

namespace Cluster.Grains.Tests.Shards;

/// <summary>What a shard refuses, and that a refused plan changes nothing.</summary>
public sealed class ShardGrainTests
{
    [Fact]
    public async Task OtherEpochsAndWrongOrder_AreRefused()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        IShardGrain shard = cluster.Grains.GetGrain<IShardGrain>(cluster.ShardKeyOf());
        await Refuses(() => shard.Execute(First(epoch: 5)));
        Assert.Equal(64, (await shard.Open(new ShardOpening { Replica = "fake/0", Epoch = 5 })).Blocks);
        await Refuses(() => shard.Execute(First(epoch: 4)));
        await Refuses(() => shard.Execute(First(epoch: 6)));
        await Refuses(() => shard.Execute(First(epoch: 5) with { Step = 1 }));
        Assert.Equal(0, (await shard.Execute(First(epoch: 5))).Step);
        await Refuses(() => shard.Execute(First(epoch: 5)));
        await Refuses(() => shard.Open(new ShardOpening { Replica = "fake/0", Epoch = 4 }));
        await shard.Open(new ShardOpening { Replica = "fake/0", Epoch = 7 });
        await Refuses(() => shard.Execute(First(epoch: 5) with { Step = 1 }));
        await shard.Execute(First(epoch: 7));
    }

    [Fact]
    public async Task RefusedPlan_ChangesNothing()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        IShardGrain shard = cluster.Grains.GetGrain<IShardGrain>(cluster.ShardKeyOf());
        await shard.Open(new ShardOpening { Replica = "fake/0", Epoch = 1 });
        await shard.Execute(First(epoch: 1));
        StepPlan next = First(epoch: 1) with
        {
            Step = 1,
            Added = [],
            Scheduled = [First(1).Scheduled[0] with { AppendedTokens = [9], NewBlocks = [], ComputedTokens = 4, NewTokens = 1 }],
        };
        ScheduledSequence row = next.Scheduled[0];
        await Refuses(() => shard.Execute(next with { Scheduled = [row, row with { Id = 77 }] }));
        await Refuses(() => shard.Execute(next with { Scheduled = [row with { ComputedTokens = 5 }] }));
        await Refuses(() => shard.Execute(next with { Scheduled = [row with { NewBlocks = [64] }] }));
        await Refuses(() => shard.Execute(next with { Scheduled = [row with { AppendedTokens = [9, 9, 9, 9, 9], NewTokens = 5 }] }));
        await Refuses(() => shard.Execute(next with { Scheduled = [row with { AppendedTokens = [9, 9] }] }));
        await Refuses(() => shard.Execute(next with { Added = First(1).Added }));
        Assert.Equal(1, cluster.Fake().Steps);
        StepResult result = await shard.Execute(next);
        int[] expected = await FakeReference.GenerateAsync([1, 2, 3, 4, 9], 1);
        Assert.Equal(expected[0], result.Outputs.Single().Tokens.Single().Token);
    }

    [Fact]
    public async Task AfterAFailedStep_TheEpochIsOver()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        IShardGrain shard = cluster.Grains.GetGrain<IShardGrain>(cluster.ShardKeyOf());
        await shard.Open(new ShardOpening { Replica = "fake/0", Epoch = 1 });
        cluster.Fake().BeforeStep = _ => throw new InvalidOperationException("device lost");
        ShardFailedException failure = await Assert.ThrowsAsync<ShardFailedException>(() => shard.Execute(First(1)));
        Assert.Contains("device lost", failure.Message, StringComparison.Ordinal);
        cluster.Fake().BeforeStep = null;
        await Refuses(() => shard.Execute(First(1)));
        await Refuses(() => shard.Execute(First(1) with { Step = 1 }));
        await shard.Open(new ShardOpening { Replica = "fake/0", Epoch = 2 });
        await shard.Execute(First(2));
    }

    [Fact]
    public async Task Shards_LiveWhereTheirKeySays()
    {
        await using ClusterFixture cluster = await new ClusterFixture { Silos = 3, Replicas = 9 }.StartAsync();
        for (int replica = 0; replica < 9; replica++)
            await cluster.Grains.GetGrain<IShardGrain>(cluster.ShardKeyOf(replica)).Open(new ShardOpening { Replica = "fake/0", Epoch = 1 });
        string elsewhere = cluster.ShardKeyOf() .Replace(cluster.Cluster.Silos[0].Name, "nowhere", StringComparison.Ordinal);
        Exception failure = await Assert.ThrowsAnyAsync<Exception>(() => cluster.Grains.GetGrain<IShardGrain>(elsewhere).Open(new ShardOpening { Replica = "fake/0", Epoch = 1 }));
        Assert.Contains("nowhere", failure.ToString(), StringComparison.Ordinal);
        string unloaded = cluster.ShardKeyOf(0, 5);
        await Refuses(() => cluster.Grains.GetGrain<IShardGrain>(unloaded).Open(new ShardOpening { Replica = "fake/0", Epoch = 1 }));
    }

    private static Task Refuses(Func<Task> call) => Assert.ThrowsAsync<ShardFailedException>(call);

    private static StepPlan First(long epoch) => new()
    {
        Epoch = epoch,
        Step = 0,
        Added =
        [
            new NewSequence
            {
                Id = 3, Tokens = [1, 2, 3, 4], PromptLength = 4, Choice = 0, Sampling = Groups.Greedy, Seed = 1,
                StopTokens = [], MinTokens = 0, TopLogprobs = -1, PromptTopLogprobs = -1,
            },
        ],
        Removed = [],
        Scheduled = [new ScheduledSequence { Id = 3, AppendedTokens = [], NewBlocks = [8, 2], ComputedTokens = 0, NewTokens = 4, Sample = true }],
    };
}
