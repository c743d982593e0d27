using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Shards;

namespace Cluster.Grains.Topology;

/// <summary>A device of a silo.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.DevicePlace")]
internal readonly record struct DevicePlace(
    [property: Id(0)] string Silo,
    [property: Id(1)] string Device);

/// <summary>A replica and the devices that its ranks were given. A number is used once: another cut of the model is another replica.</summary>
/// <param name="Model">Served name.</param>
/// <param name="Number">Number within the model.</param>
/// <param name="Layout">How it is cut.</param>
/// <param name="Places">Device of each rank.</param>
[GenerateSerializer, Immutable, Alias("Cluster.PlacedReplica")]
internal sealed record PlacedReplica(
    [property: Id(0)] string Model,
    [property: Id(1)] int Number,
    [property: Id(2)] ModelLayout Layout,
    [property: Id(3)] ImmutableArray<DevicePlace> Places)
{
    /// <summary>Key of the replica's grain.</summary>
    public string Key => $"{Model}/{Number}";

    /// <summary>Key of a rank's shard.</summary>
    public string ShardKeyOf(int rank) => new ShardKey(Places[rank].Silo, Places[rank].Device, Model, Number, rank).ToString();

    /// <inheritdoc/>
    public bool Equals(PlacedReplica? other) =>
        other is not null && Model == other.Model && Number == other.Number && Layout == other.Layout && Places.SequenceEqual(other.Places);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Model, Number);
}
