namespace Cluster.Grains.Replicas;

/// <summary>
/// A replica gave a group of sequences up: its shards failed again and again. What was reported before stands; the caller
/// may go on with another replica from there.
/// </summary>
[GenerateSerializer, Alias("Cluster.ReplicaFailedException")]
internal sealed class ReplicaFailedException : Exception
{
    /// <summary>Makes the exception.</summary>
    public ReplicaFailedException(string message)
        : base(message)
    {
    }
}
