using Cluster.Contracts;
using Cluster.Grains.Delivery;
using Cluster.Grains.Replicas;
using Cluster.TestKit;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Runtime;

namespace Cluster.Grains.Tests.Replicas;

public sealed class TargetReplicaTests
{
    [Fact]
    public async Task StopToken_EndsAndIsReported_ButNotBeforeTheMinimum()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        int[] prompt = Groups.Prompt(9);
        int[] free = await FakeReference.GenerateAsync(prompt, 20);
        int stop = free[4];
        SequenceGroup group = Groups.Group("a", Groups.Start(prompt, 20)) with { StopTokens = [stop] };
        Answer answer = (await Groups.RunAsync(cluster.Replica(), group))[0];
        Assert.Equal(free[..(Array.IndexOf(free, stop) + 1)], answer.Ids);
        Assert.Equal(SequenceEnd.StopToken, answer.End);
        Answer later = (await Groups.RunAsync(cluster.Replica(), group with { MinTokens = 10 }))[0];
        Assert.Equal(await FakeReference.GenerateAsync(prompt, 20, stopTokens: [stop], minTokens: 10), later.Ids);
        Assert.DoesNotContain(stop, later.Ids[..10]);
    }

    [Fact]
    public async Task PromptLogprobs_ComeOnce_WholeAndUncached()
    {
        await using ClusterFixture cluster = await new ClusterFixture { Configure = options => options.MaxNumBatchedTokens = 5 }.StartAsync();
        int[] prompt = Groups.Prompt(18);
        await Groups.RunAsync(cluster.Replica(), Groups.Group("warm", Groups.Start(prompt, 2)));
        SequenceGroup group = Groups.Group("a", Groups.Start(prompt, 3, 0, scored: true), Groups.Start(prompt, 3, 1)) with { PromptTopLogprobs = 2, TopLogprobs = 1 };
        Dictionary<int, Answer> answers = await Groups.RunAsync(cluster.Replica(), group);
        Assert.Equal(prompt[1..], answers[0].PromptLogprobs.Select(scored => scored.Token));
        Assert.All(answers[0].PromptLogprobs, scored => Assert.True(scored.Logprob <= 0 && scored.Top.Length == 2));
        Assert.Equal((0, 16), (answers[0].CachedTokens, answers[1].CachedTokens));
        Assert.Empty(answers[1].PromptLogprobs);
        Assert.All(answers[0].Tokens, token => Assert.True(token.Logprob <= 0 && token.Top.Length == 1));
        Assert.Equal(await FakeReference.GenerateAsync(prompt, 3), answers[0].Ids);
    }

    [Fact]
    public async Task MaxTokensZero_GivesThePromptsScoresOrNothing()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        SequenceGroup group = Groups.Group("a", Groups.Start(Groups.Prompt(9), 0, 0, scored: true), Groups.Start(Groups.Prompt(9), 0, 1)) with { PromptTopLogprobs = 0 };
        Dictionary<int, Answer> answers = await Groups.RunAsync(cluster.Replica(), group);
        Assert.Equal((8, 0), (answers[0].PromptLogprobs.Length, answers[1].PromptLogprobs.Length));
        Assert.All(answers.Values, answer => Assert.Equal((0, SequenceEnd.Length), (answer.Tokens.Count, answer.End)));
    }

    [Fact]
    public async Task Cancel_FreesBlocksWithinOneStep()
    {
        var gate = new StepGate();
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine { BeforeStep = gate.WaitAsync } }.StartAsync();
        IAsyncEnumerator<SequenceProgress> reader = cluster.Replica()
            .Generate(Groups.Group("a", Groups.Start(Groups.Prompt(20), 200)), default).GetAsyncEnumerator();
        gate.Release(2);
        Assert.True(await reader.MoveNextAsync());
        Assert.Equal(1, (await cluster.Replica().GetLoad()).Running);
        int steps = cluster.Fake().Steps;
        await reader.DisposeAsync();
        gate.Release(2);
        await WaitUntilAsync(async () => (await cluster.Replica().GetLoad()) is { Running: 0, KvUsage: 0 });
        Assert.InRange(cluster.Fake().Steps - steps, 0, 2);
    }

    [Fact]
    public async Task Drop_EndsOneSequence_FreesItsBlocks_AndLeavesTheOthersAlone()
    {
        var gate = new StepGate();
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine { BeforeStep = gate.WaitAsync } }.StartAsync();
        SequenceGroup group = Groups.Group("a", Groups.Start(Groups.Prompt(8), 40), Groups.Start(Groups.Prompt(8, 1), 30, 1), Groups.Start(Groups.Prompt(8, 2), 40, 2));
        var answers = new Answer[3].Select(_ => new Answer()).ToArray();
        await using IAsyncEnumerator<SequenceProgress> reader = cluster.Replica().Generate(group, default).GetAsyncEnumerator();
        gate.Release(3);
        Assert.True(await reader.MoveNextAsync());
        answers[reader.Current.Choice].Add(reader.Current);
        await cluster.Replica().Drop("a", 1);
        await cluster.Replica().Drop("a", 1); // Nothing is left of it.
        await cluster.Replica().Drop("other", 0);
        await cluster.Replica().Drop("a", 7);
        gate.Release(3);
        await WaitUntilAsync(async () => (await cluster.Replica().GetLoad()).Running == 2);
        gate.Release(100);
        while (await reader.MoveNextAsync())
            answers[reader.Current.Choice].Add(reader.Current);
        Assert.Equal(await FakeReference.GenerateAsync(Groups.Prompt(8), 40), answers[0].Ids);
        Assert.Equal(await FakeReference.GenerateAsync(Groups.Prompt(8, 2), 40), answers[2].Ids);
        Assert.Null(answers[1].End);
        Assert.InRange(answers[1].Ids.Length, 0, 6);
        Assert.Equal((await FakeReference.GenerateAsync(Groups.Prompt(8, 1), 30))[..answers[1].Ids.Length], answers[1].Ids);
        await WaitUntilAsync(async () => (await cluster.Replica().GetLoad()) is { Running: 0, KvUsage: 0 });
    }

    [Fact]
    public async Task DroppingTheLastSequence_EndsTheStream()
    {
        var gate = new StepGate();
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine { BeforeStep = gate.WaitAsync } }.StartAsync();
        await using IAsyncEnumerator<SequenceProgress> reader = cluster.Replica()
            .Generate(Groups.Group("a", Groups.Start(Groups.Prompt(8), 100)), default).GetAsyncEnumerator();
        gate.Release(1);
        Assert.True(await reader.MoveNextAsync());
        await cluster.Replica().Drop("a", 0);
        gate.Release(3);
        Assert.False(await reader.MoveNextAsync());
    }

    /// <summary>Tokens are the same whether the reader's silo is the replica's or another; the stream carries them only between silos.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Inbox_IsUsedInTheReplicasSiloOnly(bool isLocal)
    {
        await using ClusterFixture cluster = await new ClusterFixture { Silos = 2 }.StartAsync();
        await cluster.Replica().GetLoad();
        string home = (await cluster.Grains.GetGrain<IManagementGrain>(0).GetActivationAddress(cluster.Replica()))!.ToString();
        int silo = Enumerable.Range(0, 2).Single(i => (cluster.Cluster.Silos[i].SiloAddress.ToString() == home) == isLocal);
        ITargetReplicaGrain replica = cluster.ServicesOf(silo).GetRequiredService<IGrainFactory>().GetGrain<ITargetReplicaGrain>($"{ClusterFixture.Model}/0");
        SequenceGroup group = Groups.Group("a", Groups.Start(Groups.Prompt(9), 20), Groups.Start(Groups.Prompt(9, 1), 12, 1));
        var answers = new Answer[] { new(), new() };
        int streamed = 0;
        await foreach (IReadOnlyList<SequenceProgress> news in GrainStream.ReadAsync<SequenceProgress>(inbox => Counted(replica.Generate(group with { Inbox = inbox }, default)), default))
        {
            foreach (SequenceProgress progress in news)
                answers[progress.Choice].Add(progress);
        }

        Assert.Equal(await FakeReference.GenerateAsync(Groups.Prompt(9), 20), answers[0].Ids);
        Assert.Equal(await FakeReference.GenerateAsync(Groups.Prompt(9, 1), 12), answers[1].Ids);
        Assert.All(answers, answer => Assert.Equal(SequenceEnd.Length, answer.End));
        Assert.Equal(isLocal, streamed == 0);

        async IAsyncEnumerable<SequenceProgress> Counted(IAsyncEnumerable<SequenceProgress> stream)
        {
            await foreach (SequenceProgress progress in stream)
            {
                streamed++;
                yield return progress;
            }
        }
    }

    [Fact]
    public async Task QueueOverflow_IsRefusedWithRetryAfter()
    {
        var gate = new StepGate();
        await using ClusterFixture cluster = await new ClusterFixture
        {
            Configure = options => (options.MaxNumSeqs, options.MaxQueuedRequests) = (1, 2),
            Engine = (_, _) => new FakeShardEngine { BeforeStep = gate.WaitAsync },
        }.StartAsync();
        Task<Dictionary<int, Answer>> first = Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(Groups.Prompt(4), 3)));
        await WaitUntilAsync(async () => (await cluster.Replica().GetLoad()).Running == 1);
        Task<Dictionary<int, Answer>> second = Groups.RunAsync(cluster.Replica(), Groups.Group("b", Groups.Start(Groups.Prompt(4), 3, 0), Groups.Start(Groups.Prompt(4), 3, 1)));
        await WaitUntilAsync(async () => (await cluster.Replica().GetLoad()).Waiting == 2);
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(
            () => Groups.RunAsync(cluster.Replica(), Groups.Group("c", Groups.Start(Groups.Prompt(4), 3))));
        Assert.Equal(RejectionReason.Overloaded, refused.Reason);
        Assert.True(refused.RetryAfterSeconds > 0);
        Assert.Contains("limit is 2", refused.Message, StringComparison.Ordinal);
        gate.Release(1000);
        await Task.WhenAll(first, second);
        await Groups.RunAsync(cluster.Replica(), Groups.Group("c", Groups.Start(Groups.Prompt(4), 3)));
    }

    [Fact]
    public async Task TooLong_IsRefusedWithLimitAndActual()
    {
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine(blocks: 4) }.StartAsync();
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(
            () => Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(Groups.Prompt(10), 8))));
        Assert.Equal(RejectionReason.ContextLengthExceeded, refused.Reason);
        Assert.Contains("18", refused.Message, StringComparison.Ordinal);
        Assert.Contains("16", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task LongerThanTheModel_IsRefused()
    {
        await using ClusterFixture cluster = await new ClusterFixture { Engine = (_, _) => new FakeShardEngine(maxModelLength: 30) }.StartAsync();
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(
            () => Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(Groups.Prompt(10), 21))));
        Assert.Equal(RejectionReason.ContextLengthExceeded, refused.Reason);
        Assert.Equal(20, (await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(Groups.Prompt(10), 20))))[0].Ids.Length);
    }

    [Fact]
    public async Task UnknownReplica_IsRefused()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(
            () => Groups.RunAsync(cluster.Replica(7), Groups.Group("a", Groups.Start(Groups.Prompt(4), 3))));
        Assert.Equal(RejectionReason.Overloaded, refused.Reason);
        Assert.False((await cluster.Replica(7).GetLoad()).Ready);
    }

    [Fact]
    public async Task LaggingReader_FindsTokensTogether()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        int[] prompt = Groups.Prompt(5);
        int reports = 0;
        var tokens = new List<int>();
        await foreach (SequenceProgress progress in cluster.Replica().Generate(Groups.Group("a", Groups.Start(prompt, 100)), default))
        {
            if (reports++ == 0)
                await WaitUntilAsync(async () => (await cluster.Replica().GetLoad()).Running == 0);
            tokens.AddRange(progress.Tokens.Select(token => token.Token));
        }

        Assert.Equal(await FakeReference.GenerateAsync(prompt, 100), tokens);
        Assert.True(reports < 90, $"{reports} reports for 100 tokens.");
    }

    [Fact]
    public async Task Load_IsReported_AndEndsIdle()
    {
        await using ClusterFixture cluster = await new ClusterFixture().StartAsync();
        await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(Groups.Prompt(5), 6)));
        await WaitUntilAsync(() => Task.FromResult(
            cluster.Topology.Loads.TryGetValue($"{ClusterFixture.Model}/0", out ReplicaLoad? load)
            && load is { Running: 0, Waiting: 0, KvUsage: 0, GeneratedTokens: 6, Blocks: 64, Ready: true }));
    }

    internal static async Task WaitUntilAsync(Func<Task<bool>> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (!await condition())
        {
            limit.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }
}

/// <summary>Lets an engine run as many steps as were released.</summary>
internal sealed class StepGate
{
    private readonly SemaphoreSlim _permits = new(0);

    public void Release(int steps) => _permits.Release(steps);

    public Task WaitAsync(Cluster.Kernels.Execution.ForwardBatch batch) => _permits.WaitAsync();
}
