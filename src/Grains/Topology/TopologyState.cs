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

    // Id 2 was used by an earlier form.

    /// <summary>Silos, by name.</summary>
    [Id(3)] public Dictionary<string, KnownSilo> Silos { get; set; } = [];

    /// <summary>Declared models, by name.</summary>
    [Id(4)] public Dictionary<string, ModelDeclaration> Declarations { get; set; } = [];

    /// <summary>Planned replicas.</summary>
    [Id(5)] public List<PlacedReplica> Replicas { get; set; } = [];

    /// <summary>First replica number of each model that was never used.</summary>
    [Id(6)] public Dictionary<string, int> NextNumbers { get; set; } = [];
}

/// <summary>A silo, and the incarnation of its process.</summary>
/// <param name="Description">As reported.</param>
/// <param name="Address">Address with generation of the silo process, or null when membership does not know the name.</param>
/// <param name="IsDraining">Whether it is to be emptied.</param>
[GenerateSerializer, Immutable, Alias("Cluster.KnownSilo")]
internal sealed record KnownSilo(
    [property: Id(0)] SiloDescription Description,
    [property: Id(1)] string? Address,
    [property: Id(2)] bool IsDraining);
