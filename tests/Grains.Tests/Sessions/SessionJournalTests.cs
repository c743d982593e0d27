using Cluster.Contracts;
using Cluster.Grains.Sessions;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Orleans.Runtime;
using Orleans.Serialization;

namespace Cluster.Grains.Tests.Sessions;

public sealed class SessionJournalTests
{
    private static readonly GrainId Grain = GrainId.Create("session", "unit");
    private static readonly Serializer<AcceptRecord> Serializer =
        new ServiceCollection().AddSerializer().BuildServiceProvider().GetRequiredService<Serializer<AcceptRecord>>();

    [Fact]
    public async Task Acceptance_IsReadBack()
    {
        var storage = new FaultyStorage();
        AcceptRecord accepted = TestModels.Accept(TestModels.WithTokenizer, TestModels.Request(9, 2, "END"), [1, 2], [3]);
        await New(storage, new FakeTimeProvider()).AcceptAsync(accepted);
        AcceptRecord read = (await New(storage, new FakeTimeProvider()).ReadAcceptedAsync())!;
        Assert.Equal([1, 2], read.Prompts[0].TokenIds);
        Assert.Equal((9, 4, 1UL), (read.MaxTokens[1], read.ChoiceCount, read.Seed));
        Assert.Equal(["END"], read.Request.Stop.Strings);
    }

    [Fact]
    public async Task FrozenStore_IsNotWaitedForForEver()
    {
        var time = new FakeTimeProvider();
        var storage = new FaultyStorage { Before = (_, _) => new TaskCompletionSource().Task };
        Task accepting = New(storage, time).AcceptAsync(TestModels.Accept(TestModels.WithoutTokenizer, TestModels.Request()));
        time.Advance(TimeSpan.FromSeconds(11));
        SessionStoreException failed = await Assert.ThrowsAsync<SessionStoreException>(() => accepting);
        Assert.Contains("10 s", failed.Message);
    }

    [Fact]
    public async Task Progress_IsWrittenAfterTheIntervalOrEnoughTokens()
    {
        var time = new FakeTimeProvider();
        var storage = new FaultyStorage();
        SessionJournal journal = New(storage, time);
        journal.Track(NewTranscript(), () => 0, () => { });
        journal.AddTokens(SessionJournal.WriteTokens - 1);
        Assert.Empty(storage.Writes);
        time.Advance(SessionJournal.WriteInterval);
        await storage.WaitAsync(rows => rows.Writes.GetValueOrDefault("session-progress") == 1);
        await journal.FlushAsync();
        journal.AddTokens(SessionJournal.WriteTokens);
        await storage.WaitAsync(rows => rows.Writes.GetValueOrDefault("session-progress") == 2);
    }

    [Fact]
    public async Task ActivationThatIsBehind_StopsWriting()
    {
        var storage = new FaultyStorage();
        SessionTranscript ahead = NewTranscript(), behind = NewTranscript();
        ahead.Apply(new() { Choice = 0, FirstIndex = 0, Tokens = [new(10, float.NaN, []), new(11, float.NaN, [])] });
        var overtaken = new TaskCompletionSource();
        SessionJournal zombie = New(storage, TimeProvider.System), other = New(storage, TimeProvider.System);
        zombie.Track(behind, () => 0, () => overtaken.TrySetResult());
        zombie.MarkDirty();
        await zombie.FlushAsync();
        await other.ReadProgressAsync();
        other.Track(ahead, () => 0, () => throw new InvalidOperationException("The one that is ahead was stopped."));
        other.MarkDirty();
        await other.FlushAsync();
        zombie.MarkDirty();
        await overtaken.Task.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Equal(2, SessionProgress.CountTokens((await New(storage, TimeProvider.System).ReadProgressAsync())!));
    }

    [Fact]
    public async Task Remove_DeletesBothRowsEvenAfterALateWrite()
    {
        var storage = new FaultyStorage();
        SessionJournal journal = New(storage, TimeProvider.System), late = New(storage, TimeProvider.System);
        AcceptRecord accepted = TestModels.Accept(TestModels.WithoutTokenizer, TestModels.Request());
        await journal.AcceptAsync(accepted);
        await late.ReadAcceptedAsync();
        journal.Track(NewTranscript(), () => 0, () => { });
        journal.MarkDirty();
        await journal.FlushAsync();
        int clears = 0;
        storage.Before = (operation, name) => operation == "clear" && name == "session-accepted" && clears++ == 0
            ? late.AcceptAsync(accepted)
            : Task.CompletedTask;
        await journal.RemoveAsync();
        Assert.Equal(2, clears);
        Assert.False(storage.Has("session-accepted", "unit"));
        Assert.False(storage.Has("session-progress", "unit"));
    }

    private static SessionJournal New(FaultyStorage storage, TimeProvider time) => new(storage, Grain, Serializer, time, NullLogger.Instance);

    private static SessionTranscript NewTranscript() =>
        new(new SessionRules(TestModels.Accept(TestModels.WithoutTokenizer, TestModels.Request()), TestModels.WithoutTokenizer));
}
