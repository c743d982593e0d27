namespace Cluster.Grains.Sessions;

/// <summary>What the session index asks of a session.</summary>
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
}
