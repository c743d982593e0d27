namespace Cluster.Grains.Sessions;

/// <summary>The store refused an operation or did not answer.</summary>
[GenerateSerializer, Alias("Cluster.SessionStoreException")]
internal sealed class SessionStoreException : Exception
{
    /// <param name="message">Row, operation and what the store's driver said.</param>
    /// <param name="isConflict">The row was changed by someone else, or by an earlier write of ours that timed out.</param>
    public SessionStoreException(string message, bool isConflict)
        : base(message) => IsConflict = isConflict;

    /// <summary>The row was changed by someone else, or by an earlier write of ours that timed out.</summary>
    [Id(0)] public bool IsConflict { get; private set; }
}
