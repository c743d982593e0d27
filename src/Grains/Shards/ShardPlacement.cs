using Orleans.Placement;
using Orleans.Runtime.Placement;

namespace Cluster.Grains.Shards;

/// <summary>Pins a shard grain to the silo that its key names first: that silo's device holds the weights.</summary>
[GenerateSerializer, Immutable, Alias("Cluster.ShardPlacement")]
internal sealed class ShardPlacement : PlacementStrategy
{
    internal static readonly ShardPlacement Instance = new();
}

/// <summary>Marks a grain class as pinned by <see cref="ShardPlacement"/>.</summary>
[AttributeUsage(AttributeTargets.Class)]
internal sealed class ShardPlacementAttribute() : PlacementAttribute(ShardPlacement.Instance);

/// <summary>
/// Finds the silo of a shard by name among the members of the cluster. A silo that was restarted has a new generation under
/// its old name: the newest one counts. Placement hints are ignored, so a shard cannot be moved.
/// </summary>
internal sealed class ShardPlacementDirector(IClusterMembershipService membership) : IPlacementDirector
{
    /// <inheritdoc/>
    public Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        string silo = ShardKey.Parse(target.GrainIdentity.Key.ToString()!).Silo;
        SiloAddress? newest = null;
        foreach (SiloAddress address in context.GetCompatibleSilos(target))
        {
            if (membership.CurrentSnapshot.Members.TryGetValue(address, out ClusterMember? member)
                && string.Equals(member.Name, silo, StringComparison.Ordinal)
                && (newest is null || address.Generation > newest.Generation))
                newest = address;
        }

        return newest is null
            ? Task.FromException<SiloAddress>(new ShardFailedException($"Silo '{silo}' of shard {target.GrainIdentity.Key} is not in the cluster."))
            : Task.FromResult(newest);
    }
}
