using Cluster.Contracts;

namespace Cluster.Grains.Topology;

/// <summary>What the topology keeps across restarts.</summary>
[GenerateSerializer, Alias("Cluster.TopologyState")]
internal sealed class TopologyState
{
    /// <summary>Counts changes.</summary>
    [Id(0)] public long Version { get; set; }

    /// <summary>Last epoch given to each replica. Never shrinks: an epoch is used once.</summary>
    [Id(1)] public Dictionary<string, long> Epochs { get; set; } = [];

    /// <summary>What each silo reported, by silo name.</summary>
    [Id(2)] public Dictionary<string, RegisteredSilo> Silos { get; set; } = [];
}

/// <summary>A registration and the incarnation of the silo that made it.</summary>
/// <param name="Registration">As reported.</param>
/// <param name="Address">Address with generation of the silo process, or null when membership does not know the name.</param>
[GenerateSerializer, Immutable, Alias("Cluster.RegisteredSilo")]
internal sealed record RegisteredSilo(
    [property: Id(0)] SiloRegistration Registration,
    [property: Id(1)] string? Address);
