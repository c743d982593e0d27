using Cluster.Grains.Delivery;

namespace Cluster.Grains.Tests.Delivery;

public sealed class InboxTests
{
    [Fact]
    public async Task Items_ComeInOrder_OnceEach_FromAnyThread()
    {
        const int Items = 20_000;
        var inbox = new Inbox<int>();
        Task writer = Task.Run(() =>
        {
            for (int i = 0; i < Items; i += 5)
            {
                inbox.Post(i);
                inbox.Post([i + 1, i + 2, i + 3]);
                inbox.Post(i + 4);
            }

            inbox.Complete(null);
        });
        Assert.Equal(Enumerable.Range(0, Items), await ReadAsync(inbox));
        await writer;
    }

    [Fact]
    public async Task Failure_ComesBehindTheItems_AndLaterItemsAreDropped()
    {
        var inbox = new Inbox<string>();
        inbox.Post("a");
        inbox.Complete(new TimeoutException("late"));
        inbox.Complete(null);
        inbox.Post("b");
        Assert.True(inbox.TryTake(out IReadOnlyList<string> items));
        Assert.Equal(["a"], items);
        await inbox.WaitAsync();
        Assert.Equal("late", Assert.Throws<TimeoutException>(() => inbox.TryTake(out _)).Message);
    }

    [Fact]
    public async Task End_WakesTheReader()
    {
        var inbox = new Inbox<int>();
        Assert.True(inbox.TryTake(out IReadOnlyList<int> none));
        Assert.Empty(none);
        Task waiting = inbox.WaitAsync().AsTask();
        Assert.False(waiting.IsCompleted);
        inbox.Complete(null);
        await waiting;
        Assert.False(inbox.TryTake(out _));
    }

    [Fact]
    public async Task CancelledStream_LetsTheSourceGoBeforeItEnds()
    {
        using var cancellation = new CancellationTokenSource();
        bool hasLeft = false;
        var seen = new List<int>();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (IReadOnlyList<int> items in GrainStream.ReadAsync<int>(Source, cancellation.Token))
            {
                seen.AddRange(items);
                await cancellation.CancelAsync();
            }
        });
        Assert.True(hasLeft);
        Assert.Equal([7], seen);

        async IAsyncEnumerable<int> Source(Inbox<int> inbox)
        {
            try
            {
                inbox.Post(7);
                await Task.Delay(Timeout.InfiniteTimeSpan, cancellation.Token);
                yield break;
            }
            finally
            {
                hasLeft = true;
            }
        }
    }

    [Fact]
    public async Task FailedStream_FailsTheReaderBehindWhatCame()
    {
        var seen = new List<int>();
        await Assert.ThrowsAsync<TimeoutException>(async () =>
        {
            await foreach (IReadOnlyList<int> items in GrainStream.ReadAsync<int>(Source, CancellationToken.None))
                seen.AddRange(items);
        });
        Assert.Equal([1, 2, 3], seen);

        static async IAsyncEnumerable<int> Source(Inbox<int> inbox)
        {
            inbox.Post(1);
            yield return 2;
            inbox.Post(3);
            await Task.Yield();
            throw new TimeoutException();
        }
    }

    private static async Task<List<T>> ReadAsync<T>(Inbox<T> inbox)
    {
        var all = new List<T>();
        while (inbox.TryTake(out IReadOnlyList<T> items))
        {
            all.AddRange(items);
            if (items.Count == 0)
                await inbox.WaitAsync();
        }

        return all;
    }
}
