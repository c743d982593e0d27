namespace Cluster.Grains.Replicas;

/// <summary>
/// A replica is not there now: it is being loaded, moves, or was given up by the topology. Nobody's fault: the caller asks
/// for another one, or waits.
/// </summary>
[GenerateSerializer, Alias("Cluster.ReplicaUnavailableException")]
internal sealed class ReplicaUnavailableException : Exception
{
    /// <summary>Makes the exception.</summary>
    public ReplicaUnavailableException(string message)
        : base(message)
    {
    }
}
