namespace Cluster.Grains.Sessions;

/// <summary>
/// Which sessions the store holds: stores cannot be listed, and sessions must be found again after a restart, to go on
/// in the background or to be deleted. Key: bucket of the session id.
/// </summary>
[Alias("Cluster.ISessionIndexGrain")]
internal interface ISessionIndexGrain : IGrainWithIntegerKey
{
    /// <summary>Number of buckets. Part of what is stored: fixed.</summary>
    const int Buckets = 32;

    /// <summary>Durably notes a session.</summary>
    /// <param name="sessionId">Its id.</param>
    /// <param name="due">When to tend it, Unix milliseconds; 0: at every sweep.</param>
    /// <exception cref="SessionStoreException">It is not known to be durable.</exception>
    [Alias("Add")]
    Task Add(string sessionId, long due);

    /// <summary>Forgets a session.</summary>
    [Alias("Remove")]
    Task Remove(string sessionId);

    /// <summary>Tends the sessions that are due.</summary>
    [Alias("Sweep")]
    Task Sweep();

    /// <summary>The bucket of a session id (FNV-1a, stable across processes).</summary>
    static long BucketOf(string sessionId)
    {
        uint hash = 2166136261;
        foreach (char letter in sessionId)
            hash = (hash ^ letter) * 16777619;
        return hash % Buckets;
    }
}
