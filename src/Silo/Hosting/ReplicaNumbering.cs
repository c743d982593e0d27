using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Shards;

namespace Cluster.Silo.Hosting;

/// <summary>
/// Which replica of its model each shard of this silo is. Silos that serve the same model must not claim the same number:
/// each takes the first ones that are free (one per shard), and where two took it at the same moment, the silo whose name comes later
/// takes another.
/// </summary>
internal static class ReplicaNumbering
{
    /// <summary>The models with the numbers this silo should claim.</summary>
    public static ImmutableArray<LoadedModel> Choose(ClusterTopology topology, string silo, ImmutableArray<LoadedModel> models)
    {
        bool[] stands = [.. models.Select(model => Stands(topology, silo, model))];
        HashSet<(string Model, int Number)> taken = [.. models.Where((_, i) => stands[i]).Select(NumberOf)];
        var chosen = ImmutableArray.CreateBuilder<LoadedModel>(models.Length);
        for (int i = 0; i < models.Length; i++)
            chosen.Add(stands[i] ? models[i] : Renumber(models[i], Claims(topology, silo, models[i]), taken));
        return chosen.MoveToImmutable();
    }

    // Our own claim stands unless a silo that comes before us made it, too.
    private static bool Stands(ClusterTopology topology, string silo, LoadedModel model)
    {
        bool isClaimed = topology.Replicas.SelectMany(replica => replica.Shards).Any(shard => shard.Key == model.Shard.Key);
        return isClaimed && Claims(topology, silo, model)[NumberOf(model).Number].All(other => string.CompareOrdinal(silo, other) < 0);
    }

    private static LoadedModel Renumber(LoadedModel model, ILookup<int, string> claims, HashSet<(string Model, int Number)> taken)
    {
        ShardKey key = ShardKey.Parse(model.Shard.Key);
        int free = Enumerable.Range(0, claims.Count + taken.Count + 1).First(number => !claims.Contains(number) && !taken.Contains((key.Model, number)));
        taken.Add((key.Model, free));
        return model with { Shard = model.Shard with { Key = (key with { Replica = free }).ToString() } };
    }

    // Numbers of the model's replicas with the other silos that claim them.
    private static ILookup<int, string> Claims(ClusterTopology topology, string silo, LoadedModel model) => topology.Replicas
        .Where(replica => replica.Model == NumberOf(model).Model)
        .SelectMany(replica => replica.Shards)
        .Where(shard => shard.Silo != silo)
        .ToLookup(shard => ShardKey.Parse(shard.Key).Replica, shard => shard.Silo);

    private static (string Model, int Number) NumberOf(LoadedModel model)
    {
        ShardKey key = ShardKey.Parse(model.Shard.Key);
        return (key.Model, key.Replica);
    }
}
