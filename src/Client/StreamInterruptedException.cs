namespace Cluster.Client;

/// <summary>
/// A stream was lost and could not be taken up again within <see cref="InferenceClientOptions.ReconnectTimeout"/>. Nothing
/// that was delivered is wrong: <see cref="InferenceClient.ResumeAsync"/> with the id and number given here goes on later.
/// </summary>
public sealed class StreamInterruptedException : Exception
{
    /// <summary>Makes the exception.</summary>
    public StreamInterruptedException(string sessionId, long lastSequenceNumber, string reason, Exception? inner)
        : base($"Session {sessionId} was interrupted after sequence number {lastSequenceNumber}: {reason}", inner)
    {
        SessionId = sessionId;
        LastSequenceNumber = lastSequenceNumber;
    }

    /// <summary>The session's id.</summary>
    public string SessionId { get; }

    /// <summary>Last event that was delivered; -1 = none.</summary>
    public long LastSequenceNumber { get; }
}
