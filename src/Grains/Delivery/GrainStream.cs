using System.Runtime.CompilerServices;

namespace Cluster.Grains.Delivery;

/// <summary>
/// Reads a stream of a grain by the shorter way. A call to a grain of the same silo passes immutable arguments by reference,
/// so such a grain finds the reader's <see cref="Inbox{T}"/> in the request and posts there: no message per item. A grain
/// elsewhere finds none, because an inbox is not serialized, and its items come through the stream. Beginning, end, failure
/// and cancellation are the stream's in both cases.
/// </summary>
internal static class GrainStream
{
    /// <summary>Enumerates what comes, in lists of all that is there; a list is valid until the next one.</summary>
    /// <param name="open">Makes the call, with the inbox as a part of its request.</param>
    /// <param name="cancellationToken">Ends the stream.</param>
    public static async IAsyncEnumerable<IReadOnlyList<T>> ReadAsync<T>(
        Func<Inbox<T>, IAsyncEnumerable<T>> open, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var inbox = new Inbox<T>();
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task pump = PumpAsync(open(inbox), inbox, ended.Token);
        try
        {
            while (inbox.TryTake(out IReadOnlyList<T> items))
            {
                if (items.Count > 0)
                    yield return items;
                else
                    await inbox.WaitAsync();
            }
        }
        finally
        {
            await ended.CancelAsync();
            await pump; // The source has let go when this has ended.
        }
    }

    private static async Task PumpAsync<T>(IAsyncEnumerable<T> stream, Inbox<T> inbox, CancellationToken cancellationToken)
    {
        Exception? failure = null;
        try
        {
            await foreach (T item in stream.WithCancellation(cancellationToken))
                inbox.Post(item);
        }
        catch (Exception e)
        {
            failure = e; // The reader's.
        }

        inbox.Complete(failure);
    }
}
