using Cluster.Contracts;
using Cluster.Grains.Sessions;
using Cluster.TestKit;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Hosting;
using Orleans.Storage;

namespace Cluster.Grains.Tests.Sessions;

/// <summary>Sessions over the real replica, scheduler and topology, on an engine without a model.</summary>
public sealed class SessionsOverReplicasTests
{
    private const int Eos = 2;

    [Fact]
    public async Task SixtyFourStreams_GiveTheTokensOfOneByOne()
    {
        var storage = new FaultyStorage();
        await using ClusterFixture cluster = await New(storage).StartAsync();
        string[][] alone = new string[64][];
        for (int i = 0; i < alone.Length; i++)
            alone[i] = await RunAsync(cluster, Request(i));
        string[][] together = await Task.WhenAll(Enumerable.Range(0, alone.Length).Select(i => RunAsync(cluster, Request(i))));
        for (int i = 0; i < alone.Length; i++)
            Assert.Equal(alone[i], together[i]);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(9)]
    public async Task EngineThatFailsMidStream_ChangesNoToken(int failingStep)
    {
        var storage = new FaultyStorage();
        await using ClusterFixture cluster = await New(storage).StartAsync();
        GenerationRequest request = Request(7) with { Choices = 3 };
        string[] undisturbed = await RunAsync(cluster, request);
        int steps = 0;
        cluster.Fake().BeforeStep = _ => ++steps == failingStep ? Task.FromException(new IOException("device lost")) : Task.CompletedTask;
        Assert.Equal(undisturbed, await RunAsync(cluster, request));
        Assert.True(steps > failingStep);
    }

    [Fact]
    public async Task ReaderThatLeaves_FreesItsBlocksAndResumesWithTheSameTokens()
    {
        var storage = new FaultyStorage();
        await using ClusterFixture cluster = await New(storage).StartAsync();
        GenerationRequest request = Request(3) with { Choices = 2, Stop = new StopOptions { MaxTokens = 40, IgnoreEos = true } };
        string[] undisturbed = await RunAsync(cluster, request);
        string id = SessionCluster.NewId();
        ISessionGrain session = cluster.Grains.GetGrain<ISessionGrain>(id);
        await session.Start(request, CancellationToken.None);
        var hold = new TaskCompletionSource();
        int steps = 0;
        cluster.Fake().BeforeStep = _ => ++steps > 10 ? hold.Task : Task.CompletedTask;
        List<string> seen = [];
        await foreach (SessionEvent next in session.Attach("", 0, CancellationToken.None))
        {
            seen.Add(SessionCluster.Spell(next));
            if (seen.Count == 7)
                break;
        }

        hold.SetResult();
        await storage.WaitAsync(rows => rows.Has("session-progress", id));
        ReplicaLoad load = await cluster.Replica().GetLoad();
        Assert.Equal((0, 0), (load.Running, load.Waiting));
        seen.AddRange(await ReadAsync(session, seen.Count));
        Assert.Equal(undisturbed, seen);
    }

    [Fact]
    public async Task QueueThatIsFull_RefusesTheFirstEvent()
    {
        var storage = new FaultyStorage();
        await using ClusterFixture cluster = await New(storage, options => (options.MaxNumSeqs, options.MaxQueuedRequests) = (1, 3)).StartAsync();
        var hold = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var busy = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        cluster.Fake().BeforeStep = _ =>
        {
            busy.TrySetResult();
            return hold.Task;
        };
        Task<string[]> first = RunAsync(cluster, Request(1));
        await busy.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Task<Exception?>[] outcomes = [.. Enumerable.Range(0, 8).Select(i => OutcomeOf(RunAsync(cluster, Request(i) with { Choices = 2 })))];
        Task<Exception?> earliest = await Task.WhenAny(outcomes).WaitAsync(TimeSpan.FromSeconds(30));
        // A cluster whose engine is held cannot stop: released before anything is asserted.
        hold.SetResult();
        RequestRejectedException refused = Assert.IsType<RequestRejectedException>(await earliest);
        Assert.Equal(RejectionReason.Overloaded, refused.Reason);
        Assert.True(refused.RetryAfterSeconds > 0);
        Assert.Contains("3", refused.Message);
        Assert.NotEmpty(await first);
        Assert.All(await Task.WhenAll(outcomes), outcome => Assert.True(outcome is null or RequestRejectedException { Reason: RejectionReason.Overloaded }, $"{outcome}"));
    }

    [Fact]
    public async Task SeveralPromptsOverSeveralReplicas_KeepTheirOrder()
    {
        var storage = new FaultyStorage();
        await using ClusterFixture cluster = await New(storage, replicas: 2).StartAsync();
        GenerationRequest request = Request(5) with { Prompts = [Prompt.FromTokens(3, 4, 5), Prompt.FromTokens(6), Prompt.FromTokens(7, 8)], Choices = 2 };
        string[][] runs = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => RunAsync(cluster, request)));
        Assert.All(runs, run => Assert.Equal(runs[0], run));
        Assert.StartsWith("0 Token 0 ", runs[0][0], StringComparison.Ordinal);
        Assert.StartsWith("5 Token 5 ", runs[0][5], StringComparison.Ordinal);
    }

    private static GenerationRequest Request(int number) => new()
    {
        Model = ClusterFixture.Model,
        Prompts = [Prompt.FromTokens([.. Enumerable.Range(0, 1 + (number % 9)).Select(i => 10 + ((number + i) % 80))])],
        Sampling = new SamplingOptions { Temperature = number % 2, Seed = number },
        Stop = new StopOptions { MaxTokens = 12 + (number % 5) },
        Logprobs = number % 3 == 0 ? 1 : null,
    };

    private static ClusterFixture New(FaultyStorage storage, Action<ClusterOptions>? configure = null, int replicas = 1) => new()
    {
        RealTopology = true,
        Replicas = replicas,
        Configure = configure ?? (_ => { }),
        Engine = (_, _) => new FakeShardEngine(blocks: 512, maxSequences: 32),
        ConfigureSilo = silo =>
        {
            var models = new ModelCatalog();
            models.Add(TestModels.WithoutTokenizer with
            {
                Description = TestModels.WithoutTokenizer.Description with { Name = ClusterFixture.Model, Fingerprint = "fake", MaxModelLength = 256 },
                VocabularySize = 97,
                EosTokens = [Eos],
            });
            silo.Services.AddSingleton(models);
            silo.Services.AddKeyedSingleton<IGrainStorage>("Default", storage);
            SessionServices.Register(silo.Services);
        },
    };

    private static async Task<string[]> RunAsync(ClusterFixture cluster, GenerationRequest request)
    {
        ISessionGrain session = cluster.Grains.GetGrain<ISessionGrain>(SessionCluster.NewId());
        await session.Start(request, CancellationToken.None);
        return [.. await ReadAsync(session, 0)];
    }

    private static async Task<List<string>> ReadAsync(ISessionGrain session, long from)
    {
        List<string> events = [];
        await foreach (SessionEvent next in session.Attach("", from, CancellationToken.None))
            events.Add(next.Kind == SessionEventKind.Usage ? $"usage {next.Usage!.PromptTokens} {next.Usage.CompletionTokens}" : SessionCluster.Spell(next));
        return events;
    }

    private static async Task<Exception?> OutcomeOf(Task<string[]> run)
    {
        try
        {
            await run;
            return null;
        }
        catch (Exception failure)
        {
            return failure;
        }
    }
}
