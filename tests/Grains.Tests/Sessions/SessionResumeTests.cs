using Cluster.Contracts;

namespace Cluster.Grains.Tests.Sessions;

/// <summary>Whatever happens to readers and activations, each reader sees the events of an undisturbed run.</summary>
public sealed class SessionResumeTests(SessionCluster cluster) : IClassFixture<SessionCluster>
{
    private const int Cuts = 34;

    private static readonly GenerationRequest Sampled = TestModels.Request(maxTokens: 10, choices: 3) with
    {
        Prompts = [Prompt.FromTokens(5, 6, 7)],
        Sampling = new SamplingOptions { Temperature = 1, Seed = 3 },
        Logprobs = 1,
    };

    private static readonly GenerationRequest Spelled = TestModels.Request(maxTokens: 20, choices: 2) with
    {
        Model = TestModels.Bytes,
        Prompts = [Prompt.FromText("Hello"), Prompt.FromText("a")],
        Sampling = new SamplingOptions { Seed = 0 },
        Stop = new StopOptions { MaxTokens = 20, Strings = ["fox", "quick b"] },
    };

    public static TheoryData<int> CutPoints() => [.. Enumerable.Range(0, Cuts)];

    [Theory]
    [MemberData(nameof(CutPoints))]
    public async Task StreamCutAfterAnyEvent_ResumesWithTheRest(int cut)
    {
        foreach (GenerationRequest request in new[] { Sampled, Spelled })
        {
            List<SessionEvent> whole = await cluster.RunAsync(SessionCluster.NewId(), request);
            string id = SessionCluster.NewId();
            await cluster.Session(id).Start(request, CancellationToken.None);
            List<SessionEvent> seen = cut == 0 ? [] : await cluster.ReadAsync(id, most: cut);
            seen.AddRange(await cluster.ReadAsync(id, from: seen.Count));
            Assert.Equal(whole.Select(SessionCluster.Spell), seen.Select(SessionCluster.Spell));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(16)]
    public async Task ActivationThatGoesMidStream_ResumesWithTheRest(int cut)
    {
        List<SessionEvent> whole = await cluster.RunAsync(SessionCluster.NewId(), Sampled);
        string id = SessionCluster.NewId();
        var reached = new TaskCompletionSource();
        cluster.Script(id).BeforeRound = (round, cancellation) => round < 1 + (cut / 6) ? Task.CompletedTask : Hold(reached, cancellation);
        await cluster.Session(id).Start(Sampled, CancellationToken.None);
        List<SessionEvent> seen = await cluster.ReadAsync(id, most: Math.Min(cut, 3));
        _ = cluster.ReadAsync(id, from: seen.Count);
        await reached.Task;
        cluster.Script(id).BeforeRound = null;
        await cluster.DeactivateAsync(id);
        seen.AddRange(await cluster.ReadAsync(id, from: seen.Count));
        Assert.Equal(whole.Select(SessionCluster.Spell), seen.Select(SessionCluster.Spell));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public async Task ReplicaThatFails_IsReplacedWithTheSameTokens(int failingRound)
    {
        List<SessionEvent> whole = await cluster.RunAsync(SessionCluster.NewId(), Sampled);
        foreach (Exception failure in new Exception[]
        {
            new SiloUnavailableException("gone"), new TimeoutException("frozen"), new EnumerationAbortedException("moved"), new InvalidOperationException("bug"),
        })
        {
            string id = SessionCluster.NewId();
            cluster.Script(id).BeforeRound = (round, _) => round == failingRound ? Task.FromException(failure) : Task.CompletedTask;
            List<SessionEvent> events = await cluster.RunAsync(id, Sampled);
            Assert.Equal(whole.Select(SessionCluster.Spell), events.Select(SessionCluster.Spell));
            Assert.Equal(2, cluster.Script(id).Groups.Count);
        }
    }

    [Fact]
    public async Task LastReaderThatLeaves_PausesAndAnotherGoesOn()
    {
        string id = SessionCluster.NewId();
        var release = new TaskCompletionSource();
        cluster.Script(id).BeforeRound = (round, cancellation) => round < 2 ? Task.CompletedTask : release.Task.WaitAsync(cancellation);
        await cluster.Session(id).Start(Sampled, CancellationToken.None);
        Task left = cluster.Script(id).Left;
        await cluster.ReadAsync(id, most: 4);
        await left.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(0, cluster.Script(id).Live);
        await cluster.Storage.WaitAsync(storage => storage.Has("session-progress", id));
        Assert.Equal(SessionStatus.Paused, (await cluster.Session(id).Describe("", CancellationToken.None)).Status);

        release.SetResult();
        List<SessionEvent> rest = await cluster.ReadAsync(id, from: 4);
        Assert.Equal(SessionEventKind.Usage, rest[^1].Kind);
        Assert.Equal(SessionStatus.Finished, (await cluster.Session(id).Describe("", CancellationToken.None)).Status);
        Assert.Contains(cluster.Script(id).Groups, group => group.Sequences.Any(sequence => sequence.Generated.Length > 0));
    }

    [Fact]
    public async Task Readers_HaveCursorsOfTheirOwn()
    {
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Sampled, CancellationToken.None);
        Task<List<SessionEvent>>[] readers = [.. Enumerable.Range(0, 5).Select(from => cluster.ReadAsync(id, from))];
        await Task.WhenAll(readers);
        string[] whole = [.. (await readers[0]).Select(SessionCluster.Spell)];
        for (int from = 0; from < readers.Length; from++)
            Assert.Equal(whole.Skip(from), (await readers[from]).Select(SessionCluster.Spell));
        Assert.Single(cluster.Script(id).Groups);
    }

    [Fact]
    public async Task FinishedSession_IsReplayedWithoutGenerating()
    {
        string id = SessionCluster.NewId();
        List<SessionEvent> first = await cluster.RunAsync(id, Spelled);
        int calls = cluster.Script(id).Groups.Count;
        await cluster.DeactivateAsync(id);
        List<SessionEvent> again = await cluster.ReadAsync(id);
        Assert.Equal(first.Select(SessionCluster.Spell), again.Select(SessionCluster.Spell));
        Assert.Equal(calls, cluster.Script(id).Groups.Count);
        Assert.Empty(await cluster.ReadAsync(id, from: first.Count));
    }

    [Fact]
    public async Task StopString_DropsOnlyItsChoice()
    {
        string id = SessionCluster.NewId();
        var dropped = new TaskCompletionSource();
        cluster.Script(id).BeforeRound = async (round, cancellation) =>
        {
            // The text of the first choice has its stop string well before this round; the others have most of theirs to come.
            while (round == 30 && cluster.Script(id).Dropped.IsEmpty)
                await Task.Yield();
            if (round == 30)
                dropped.TrySetResult();
        };
        GenerationRequest request = Spelled with { Stop = new StopOptions { MaxTokens = 48, Strings = ["quick"] } };
        List<SessionEvent> events = await cluster.RunAsync(id, request);
        await dropped.Task;
        string[] texts = [.. Enumerable.Range(0, 4).Select(choice => string.Concat(events.Where(next => next.Choice == choice).Select(next => next.Text)))];
        Assert.All(texts, text => Assert.DoesNotContain("quick", text));
        Assert.Equal("Grüße, the ", texts[0]);
        Assert.Equal("quick", events.First(next => next.Kind == SessionEventKind.Finish && next.Choice == 0).StopString);
        int tokens = events.Count(next => next.Kind == SessionEventKind.Token);
        Assert.Equal(tokens, events[^1].Usage!.CompletionTokens);
        Assert.Contains(0, cluster.Script(id).Dropped);
        Assert.Equal(cluster.Script(id).Dropped.Count, cluster.Script(id).Dropped.Distinct().Count());
        Assert.Single(cluster.Script(id).Groups);
    }

    private static Task Hold(TaskCompletionSource reached, CancellationToken cancellationToken)
    {
        reached.TrySetResult();
        return Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
    }
}
