namespace Cluster.Kernels.Collectives;

/// <summary>
/// Something has changed for a rank that waits for a message, or for its own to be taken; or the peer has gone on to a collective
/// operation that this rank would have to join.
/// </summary>
internal readonly struct MailCondition(LocalHub hub, LocalMailbox mailbox, int peer, long phase, int version, long ticket) : IWaitCondition
{
    /// <summary>Whether the peer is in a collective operation beyond the last one of this rank.</summary>
    public bool PeerIsAhead => Volatile.Read(ref hub.Slot(peer).Phase) > phase;

    public bool IsMet() => hub.Failure.IsFailed || PeerIsAhead
        || (ticket > 0 ? mailbox.Taken == ticket : mailbox.IsDelivered || mailbox.Version != version);
}
