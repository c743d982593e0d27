using Cluster.Contracts;
using Cluster.Grains.Delivery;

namespace Cluster.Grains.Sessions;

/// <summary>A reader of a session with its cursor. Used on the session's scheduler only.</summary>
/// <param name="from">Number of the first event it wants.</param>
/// <param name="inbox">Where a reader of the same silo takes its events; null: it enumerates them.</param>
internal sealed class SessionFollower(long from, Inbox<SessionEvent>? inbox)
{
    private readonly List<SessionEvent> _delivery = [];
    private long _next = from;

    /// <summary>Whether events are posted to it as they come.</summary>
    public bool HasInbox => inbox is not null;

    /// <summary>The next event, for a reader without an inbox; null when there is none now.</summary>
    public SessionEvent? Next(IReadOnlyList<SessionEvent> events) => !HasInbox && _next < events.Count ? events[(int)_next++] : null;

    /// <summary>Posts what is new to a reader with an inbox.</summary>
    public void Deliver(IReadOnlyList<SessionEvent> events)
    {
        if (inbox is null || _next >= events.Count)
            return;
        _delivery.Clear();
        while (_next < events.Count)
            _delivery.Add(events[(int)_next++]);
        inbox.Post(_delivery);
    }
}
