using Cluster.Contracts;
using Cluster.Grains.Decoding;
using Cluster.Grains.Replicas;
using Cluster.Grains.Scheduling;
using Cluster.Kernels.Sampling;
using Cluster.TestKit;
using Microsoft.Extensions.DependencyInjection;

namespace Cluster.Grains.Tests.Replicas;

/// <summary>Drafts change how many steps a sequence takes, and nothing else of it.</summary>
public sealed class SpeculationTests
{
    private static readonly SpeculativeConfig Config = new() { Method = SpeculativeConfig.Ngram, NumSpeculativeTokens = 4, IsFixedLength = true };
    private static readonly SamplingOptions Penalised = new() { Temperature = 0.5f, FrequencyPenalty = 0.5f, RepetitionPenalty = 1.2f };
    private static readonly SamplingParameters PenalisedParameters = new() { Temperature = 0.5f, FrequencyPenalty = 0.5f, RepetitionPenalty = 1.2f };

    [Fact]
    public async Task RightDrafts_TakeAFifthOfTheSteps()
    {
        int[] prompt = Groups.Prompt(10);
        int[] expected = await FakeReference.GenerateAsync(prompt, 20);
        await using ClusterFixture cluster = await StartAsync((sequence, most) => [.. expected.Skip(sequence.GeneratedCount).Take(most)]);
        Answer answer = (await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(prompt, 20))))[0];
        Assert.Equal(expected, answer.Ids);
        // The prompt's step gives one token, then five each, and the last step what is left.
        Assert.Equal(1 + 4, cluster.Fake().Steps);
        SpeculationLoad load = (await cluster.Replica().GetLoad()).Speculation!;
        Assert.Equal((4, 15), (load.Drafts, load.DraftTokens));
        Assert.Equal([4, 4, 4, 3], load.AcceptedPerPosition);
    }

    [Theory]
    [InlineData(64, 1)]
    [InlineData(64, 16)]
    [InlineData(24, 16)]
    [InlineData(13, 5)]
    public async Task RaggedDrafts_EqualPlainDecoding(int blocks, int sequences)
    {
        var paths = new Dictionary<string, int[]>();
        var random = new Random(5);
        await using ClusterFixture cluster = await StartAsync(
            (sequence, most) =>
            {
                int right = random.Next(6);
                int[] path = paths[sequence.Session];
                return [.. Enumerable.Range(sequence.GeneratedCount, random.Next(most + 1)).Select((at, i) => i < right && at < path.Length ? path[at] : random.Next(97))];
            },
            new FakeShardEngine(blocks, maxSequences: sequences));
        var runs = new List<Task>();
        var all = new TaskCompletionSource();
        cluster.Fake().BeforeStep = _ => all.Task;
        for (int i = 0; i < 48; i++)
        {
            int[] prompt = Groups.Prompt(3 + (i % 20), i % 8);
            bool greedy = i % 2 == 0;
            paths[$"s{i}"] = await FakeReference.GenerateAsync(prompt, 14, greedy ? null : PenalisedParameters, (ulong)i);
            SequenceGroup group = Groups.Group($"s{i}", Groups.Start(prompt, 14)) with { Sampling = greedy ? Groups.Greedy : Penalised, Seed = (ulong)i };
            runs.Add(CheckAsync(cluster, group, paths[$"s{i}"]));
        }

        await TargetReplicaTests.WaitUntilAsync(async () => await cluster.Replica().GetLoad() is { } queued && queued.Running + queued.Waiting == 48);
        all.SetResult();
        await Task.WhenAll(runs);
        ReplicaLoad load = await cluster.Replica().GetLoad();
        Assert.Equal((0, 0, 0.0, 48 * 14L), (load.Running, load.Waiting, load.KvUsage, load.GeneratedTokens));
        Assert.True(load.Speculation is { Drafts: > 100 } && load.Speculation.AcceptedPerPosition.All(count => count > 0), $"Hardly any draft: {load.Speculation}");
    }

    [Fact]
    public async Task StopTokenInsideADraft_EndsThere()
    {
        int[] prompt = Groups.Prompt(10);
        int[] path = await FakeReference.GenerateAsync(prompt, 20);
        await using ClusterFixture cluster = await StartAsync((sequence, most) => [.. path.Skip(sequence.GeneratedCount).Take(most)]);
        for (int at = 0; at < 12; at++)
        {
            Answer answer = (await Groups.RunAsync(cluster.Replica(), Groups.Group($"s{at}", Groups.Start(prompt, 20)) with { StopTokens = [path[at]] }))[0];
            Assert.Equal(path[..(Array.IndexOf(path, path[at]) + 1)], answer.Ids);
            Assert.Equal(SequenceEnd.StopToken, answer.End);
        }
    }

    [Fact]
    public async Task MinimumTokens_CountTheDraft()
    {
        int[] prompt = Groups.Prompt(10);
        await using ClusterFixture plain = await new ClusterFixture().StartAsync();
        int[] path = await FakeReference.GenerateAsync(prompt, 20);
        for (int least = 0; least < 12; least += 3)
        {
            SequenceGroup group = Groups.Group($"m{least}", Groups.Start(prompt, 20)) with { StopTokens = [path[0], path[2], path[7]], MinTokens = least };
            Answer expected = (await Groups.RunAsync(plain.Replica(), group))[0];
            await using ClusterFixture cluster = await StartAsync((sequence, most) => [.. expected.Ids.Skip(sequence.GeneratedCount).Take(most)]);
            Answer answer = (await Groups.RunAsync(cluster.Replica(), group))[0];
            Assert.Equal(expected.Ids, answer.Ids);
            Assert.Equal(expected.End, answer.End);
        }
    }

    [Fact]
    public async Task Logprobs_AreThoseOfPlainDecoding()
    {
        int[] prompt = Groups.Prompt(10);
        SequenceGroup group = Groups.Group("a", Groups.Start(prompt, 16, scored: true)) with { TopLogprobs = 2, PromptTopLogprobs = 1 };
        await using ClusterFixture plain = await new ClusterFixture().StartAsync();
        Answer expected = (await Groups.RunAsync(plain.Replica(), group))[0];
        await using ClusterFixture cluster = await StartAsync((sequence, most) => [.. expected.Ids.Skip(sequence.GeneratedCount).Take(2), 96, 95]);
        Answer answer = (await Groups.RunAsync(cluster.Replica(), group))[0];
        Assert.Equal(expected.Tokens.Select(Spell), answer.Tokens.Select(Spell));
    }

    [Fact]
    public async Task FailedStep_IsRepeatedWithTheSameTokens()
    {
        int[] prompt = Groups.Prompt(10);
        int[] path = await FakeReference.GenerateAsync(prompt, 30);
        await using ClusterFixture cluster = await StartAsync((sequence, most) => [.. path.Skip(sequence.GeneratedCount).Take(sequence.GeneratedCount % (most + 1)), 50]);
        cluster.Fake().BeforeStep = _ => cluster.Fake().Steps is 2 or 5 && Interlocked.Exchange(ref _failed, cluster.Fake().Steps) != cluster.Fake().Steps
            ? throw new InvalidOperationException("The device is gone for a moment.")
            : Task.CompletedTask;
        Assert.Equal(path, (await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(prompt, 30))))[0].Ids);
        Assert.NotEqual(0, _failed);
    }

    [Fact]
    public async Task FailingProposer_CostsOnlySpeed()
    {
        int[] prompt = Groups.Prompt(10);
        await using ClusterFixture cluster = await StartAsync((_, _) => throw new TimeoutException("The draft replica does not answer."));
        Assert.Equal(await FakeReference.GenerateAsync(prompt, 12), (await Groups.RunAsync(cluster.Replica(), Groups.Group("a", Groups.Start(prompt, 12))))[0].Ids);
        Assert.Equal(12, cluster.Fake().Steps);
    }

    [Fact]
    public async Task PromptLookup_SavesStepsWhereTextRepeats()
    {
        // With two token ids every ending has been there before.
        static FakeShardEngine Engine() => new(vocabulary: 2, maxModelLength: 256);
        int[] prompt = [1, 0, 1, 1, 0, 0, 1];
        SequenceGroup group = Groups.Group("a", Groups.Start(prompt, 100));
        await using ClusterFixture plain = await new ClusterFixture { Engine = (_, _) => Engine() }.StartAsync();
        await using ClusterFixture cluster = new() { Engine = (_, _) => Engine() };
        cluster.Topology.Speculation = Config;
        await cluster.StartAsync();
        int[] expected = (await Groups.RunAsync(plain.Replica(), group))[0].Ids;
        Assert.Equal(expected, (await Groups.RunAsync(cluster.Replica(), group))[0].Ids);
        Assert.InRange(cluster.Fake().Steps, 20, 80);
    }

    private int _failed;

    private static async Task CheckAsync(ClusterFixture cluster, SequenceGroup group, int[] expected) =>
        Assert.Equal(expected, (await Groups.RunAsync(cluster.Replica(), group))[0].Ids);

    private static string Spell(GeneratedToken token) => $"{token.Token} {token.Logprob} [{string.Join(' ', token.Top.Select(top => $"{top.Token}:{top.Logprob}"))}]";

    private static async Task<ClusterFixture> StartAsync(Func<Sequence, int, int[]> guess, FakeShardEngine? engine = null)
    {
        var cluster = new ClusterFixture
        {
            Engine = (_, _) => engine ?? new FakeShardEngine(),
            ConfigureSilo = silo => silo.Services.AddSingleton<IProposerFactory>(new ScriptedProposer(guess)),
        };
        cluster.Topology.Speculation = Config;
        return await cluster.StartAsync();
    }
}
