using Cluster.Contracts;
using Cluster.Grains.Delivery;

namespace Cluster.Grains.Sessions;

/// <summary>What the silos themselves ask of a session: its index and the HTTP edge.</summary>
[Alias("Cluster.ISessionControlGrain")]
internal interface ISessionControlGrain : IGrainWithStringKey
{
    /// <summary>
    /// Keeps the session in order: a background session goes on generating, and the rows of a session are deleted when
    /// its retention is over.
    /// </summary>
    /// <returns>When to ask again, Unix milliseconds (0: at every sweep), or null when there is no such session.</returns>
    [Alias("Tend")]
    Task<long?> Tend();

    /// <summary>
    /// As <see cref="ISessionGrain.Attach"/>, for a reader that may live in the session's own silo: with an inbox in the
    /// request the events go there, and the stream itself stays empty.
    /// </summary>
    /// <exception cref="RequestRejectedException">No such session, or it was cancelled.</exception>
    [Alias("Follow")]
    IAsyncEnumerable<SessionEvent> Follow([Immutable] FollowRequest request, CancellationToken cancellationToken);
}

/// <summary>Who reads a session, and from where on.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.FollowRequest")]
internal sealed record FollowRequest(
    [property: Id(0)] string Owner,
    [property: Id(1)] long FromSequenceNumber)
{
    /// <summary>Where a reader in the session's own silo takes the events. Not serialized: a session elsewhere finds null.</summary>
    [field: NonSerialized]
    public Inbox<SessionEvent>? Inbox { get; init; }
}
