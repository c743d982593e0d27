using Cluster.Contracts;

namespace Cluster.Grains.Tests.Sessions;

/// <summary>What the store does to sessions: failing, frozen, late; retention; a restart.</summary>
public sealed class SessionStorageTests
{
    private static readonly GenerationRequest Request = TestModels.Request(maxTokens: 40, choices: 2) with
    {
        Sampling = new SamplingOptions { Seed = 5 },
        Stop = new StopOptions { MaxTokens = 40, IgnoreEos = true },
    };

    [Fact]
    public async Task FailingStore_RefusesStartWithARetry()
    {
        await using SessionCluster cluster = await new SessionCluster().StartAsync();
        cluster.Storage.Before = (operation, name) => operation == "write" && name == "session-accepted"
            ? Task.FromException(new DriverException())
            : Task.CompletedTask;
        string id = SessionCluster.NewId();
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(
            () => cluster.Session(id).Start(Request, CancellationToken.None));
        Assert.Equal(RejectionReason.Overloaded, refused.Reason);
        Assert.True(refused.RetryAfterSeconds > 0);
        Assert.Contains(nameof(DriverException), refused.Message);
        cluster.Storage.Before = null;
        Assert.NotEmpty(await cluster.RunAsync(id, Request));
    }

    [Fact]
    public async Task FailingThenHealedStore_DoesNotDisturbTheStream()
    {
        await using SessionCluster cluster = await new SessionCluster().StartAsync();
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request, CancellationToken.None);
        int failures = 0;
        cluster.Storage.Before = (operation, name) => name == "session-progress" && operation == "write" && failures++ < 3
            ? Task.FromException(new DriverException())
            : Task.CompletedTask;
        List<SessionEvent> events = await cluster.ReadAsync(id);
        await cluster.Storage.WaitAsync(storage => storage.Has("session-progress", id));
        await AssertReplayedAsync(cluster, id, events);
    }

    [Fact]
    public async Task FrozenStore_DoesNotDisturbTheStream()
    {
        await using SessionCluster cluster = await new SessionCluster().StartAsync();
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request, CancellationToken.None);
        var thaw = new TaskCompletionSource();
        cluster.Storage.Before = (_, name) => name == "session-progress" ? thaw.Task : Task.CompletedTask;
        List<SessionEvent> events = await cluster.ReadAsync(id);
        Assert.Equal(83, events.Count);
        Assert.False(cluster.Storage.Has("session-progress", id));
        thaw.SetResult();
        await cluster.Storage.WaitAsync(storage => storage.Has("session-progress", id));
        await AssertReplayedAsync(cluster, id, events);
    }

    [Fact]
    public async Task WriteThatTimedOutButWasApplied_IsHealed()
    {
        await using SessionCluster cluster = await new SessionCluster().StartAsync();
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request, CancellationToken.None);
        int late = 0;
        cluster.Storage.AfterWrite = name =>
        {
            if (name == "session-progress" && late++ < 2)
                throw new TimeoutException("The store did not answer in time.");
        };
        var wrote = cluster.Storage.WaitAsync(storage => storage.Has("session-progress", id));
        cluster.Script(id).BeforeRound = (round, _) => round == 20 ? wrote : Task.CompletedTask;
        List<SessionEvent> events = await cluster.ReadAsync(id);
        Assert.Equal(83, events.Count);
        await cluster.Storage.WaitAsync(_ => late > 2);
        await AssertReplayedAsync(cluster, id, events);
    }

    [Fact]
    public async Task DamagedProgress_IsComputedAgain()
    {
        await using SessionCluster cluster = await new SessionCluster().StartAsync();
        string id = SessionCluster.NewId();
        List<SessionEvent> events = await cluster.RunAsync(id, Request);
        await cluster.Storage.WaitAsync(storage => storage.Has("session-progress", id));
        await cluster.DeactivateAsync(id);
        cluster.Storage.Damage("session-progress");
        Assert.Equal(events.Select(SessionCluster.Spell), (await cluster.ReadAsync(id)).Select(SessionCluster.Spell));
    }

    [Fact]
    public async Task Rows_AreDeletedAfterTheRetention()
    {
        await using SessionCluster cluster = await new SessionCluster { Configure = options => options.SessionRetention = 1 }.StartAsync();
        string read = SessionCluster.NewId(), unread = SessionCluster.NewId();
        await cluster.RunAsync(read, Request);
        await cluster.Session(unread).Start(Request, CancellationToken.None);
        await cluster.Storage.WaitAsync(storage => !storage.Has("session-accepted", read) && !storage.Has("session-accepted", unread));
        await cluster.Storage.WaitAsync(storage => !storage.Has("session-progress", read));
        RequestRejectedException gone = await Assert.ThrowsAsync<RequestRejectedException>(() => cluster.ReadAsync(read));
        Assert.Equal(RejectionReason.SessionNotFound, gone.Reason);
    }

    [Fact]
    public async Task Restart_FindsSessionsAndGoesOnInTheBackground()
    {
        var storage = new FaultyStorage();
        string attached = SessionCluster.NewId(), background = SessionCluster.NewId();
        List<SessionEvent> seen;
        await using (SessionCluster before = await new SessionCluster { Storage = storage }.StartAsync())
        {
            var reached = new TaskCompletionSource();
            before.Script(attached).BeforeRound = (round, cancellation) => round < 4 ? Task.CompletedTask : Hold(null, cancellation);
            before.Script(background).BeforeRound = (round, cancellation) => round < 4 ? Task.CompletedTask : Hold(reached, cancellation);
            await before.Session(attached).Start(Request, CancellationToken.None);
            seen = await before.ReadAsync(attached, most: 5);
            await before.Session(background).Start(Request with { Background = true }, CancellationToken.None);
            await reached.Task;
            await storage.WaitAsync(rows => rows.Has("session-progress", background) && rows.Has("session-progress", attached));
        }

        var replica = new FakeReplica();
        var goesOn = new TaskCompletionSource();
        replica.Script(background).BeforeRound = (_, _) =>
        {
            goesOn.TrySetResult();
            return Task.CompletedTask;
        };
        await using SessionCluster after = await new SessionCluster { Storage = storage, Replica = replica }.StartAsync();
        await goesOn.Task.WaitAsync(TimeSpan.FromSeconds(60));
        Assert.All(replica.Script(background).Groups.Single().Sequences, sequence => Assert.NotEmpty(sequence.Generated));
        seen.AddRange(await after.ReadAsync(attached, from: 5));
        string[] whole = [.. (await after.RunAsync(SessionCluster.NewId(), Request)).Select(SessionCluster.Spell)];
        Assert.Equal(whole, seen.Select(SessionCluster.Spell));
        Assert.Equal(whole, (await after.ReadAsync(background)).Select(SessionCluster.Spell));
    }

    [Fact]
    public async Task Restart_StillDeletesWhatExpired()
    {
        var storage = new FaultyStorage();
        string id = SessionCluster.NewId();
        await using (SessionCluster before = await new SessionCluster { Storage = storage, Configure = options => options.SessionRetention = 2 }.StartAsync())
            await before.Session(id).Start(Request, CancellationToken.None);
        await using SessionCluster after = await new SessionCluster { Storage = storage, Configure = options => options.SessionRetention = 2 }.StartAsync();
        await storage.WaitAsync(rows => !rows.Has("session-accepted", id));
    }

    [Fact]
    public async Task Background_RunsWithoutAReader()
    {
        await using SessionCluster cluster = await new SessionCluster().StartAsync();
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request with { Background = true }, CancellationToken.None);
        await cluster.Storage.WaitAsync(storage => storage.Has("session-progress", id));
        List<SessionEvent> events = await cluster.ReadAsync(id);
        Assert.Equal(83, events.Count);
        Assert.Single(cluster.Script(id).Groups);
    }

    [Fact]
    public async Task ModelWithoutReplica_IsWaitedForAndThenRefused()
    {
        await using SessionCluster cluster = await new SessionCluster { HasReplica = false, Configure = options => options.ModelWait = 1 }.StartAsync();
        string id = SessionCluster.NewId();
        await cluster.Session(id).Start(Request, CancellationToken.None);
        RequestRejectedException refused = await Assert.ThrowsAsync<RequestRejectedException>(() => cluster.ReadAsync(id));
        Assert.Equal(RejectionReason.Overloaded, refused.Reason);
        Assert.Contains("1 s", refused.Message);
        await cluster.Session(id).Start(Request, CancellationToken.None);
        Task<List<SessionEvent>> reader = cluster.ReadAsync(id);
        await cluster.ReportReplicaAsync();
        Assert.Equal(83, (await reader).Count);
    }

    // Replaying from the rows alone gives the same events without another call to a replica.
    private static async Task AssertReplayedAsync(SessionCluster cluster, string id, List<SessionEvent> events)
    {
        int calls = cluster.Script(id).Groups.Count;
        await cluster.DeactivateAsync(id);
        List<SessionEvent> again = await cluster.ReadAsync(id);
        Assert.Equal(events.Select(SessionCluster.Spell), again.Select(SessionCluster.Spell));
        Assert.Equal(calls, cluster.Script(id).Groups.Count);
    }

    private static Task Hold(TaskCompletionSource? reached, CancellationToken cancellationToken)
    {
        reached?.TrySetResult();
        return Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
    }

    /// <summary>Stands for a driver's exception that a client does not have.</summary>
    private sealed class DriverException() : Exception("The store is away.");
}
