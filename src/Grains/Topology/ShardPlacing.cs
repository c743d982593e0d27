using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Topology;

/// <summary>Chooses devices for the ranks of one replica. Pure.</summary>
internal static class ShardPlacing
{
    /// <summary>
    /// A device for each rank, or none when there are too few. As close together as the free devices allow: one silo if it
    /// holds the whole replica, else one silo per stage (only stage borders cross silos), else anywhere. Of the silos that
    /// fit, the one with the least room takes it, so that room stays in one piece.
    /// </summary>
    public static ImmutableArray<DevicePlace> Choose(ModelLayout layout, IReadOnlyList<DevicePlace> free)
    {
        if (free.Count < layout.Shards)
            return [];
        List<List<DevicePlace>> silos = [.. free.GroupBy(place => place.Silo).OrderBy(silo => silo.Key, StringComparer.Ordinal).Select(silo => silo.ToList())];
        if (Take(silos, layout.Shards) is { } whole)
            return whole;
        var places = ImmutableArray.CreateBuilder<DevicePlace>(layout.Shards);
        for (int stage = 0; stage < layout.PipelineParallelSize; stage++)
            places.AddRange(Take(silos, layout.TensorParallelSize) ?? Scatter(silos, layout.TensorParallelSize));
        return places.MoveToImmutable();
    }

    private static ImmutableArray<DevicePlace>? Take(List<List<DevicePlace>> silos, int count)
    {
        List<DevicePlace>? best = silos.Where(silo => silo.Count >= count).MinBy(silo => silo.Count);
        return best is null ? null : TakeFrom(best, count);
    }

    private static ImmutableArray<DevicePlace> Scatter(List<List<DevicePlace>> silos, int count)
    {
        var places = ImmutableArray.CreateBuilder<DevicePlace>(count);
        while (places.Count < count)
        {
            List<DevicePlace> largest = silos.MaxBy(silo => silo.Count)!;
            places.AddRange(TakeFrom(largest, Math.Min(largest.Count, count - places.Count)));
        }

        return places.MoveToImmutable();
    }

    private static ImmutableArray<DevicePlace> TakeFrom(List<DevicePlace> silo, int count)
    {
        ImmutableArray<DevicePlace> taken = [.. silo.Take(count)];
        silo.RemoveRange(0, count);
        return taken;
    }
}
