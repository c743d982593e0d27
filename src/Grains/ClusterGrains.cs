using Cluster.Grains.Decoding;
using Cluster.Grains.Shards;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Cluster.Grains;

/// <summary>What every silo needs so that the grains of this assembly can run in it.</summary>
internal static class ClusterGrains
{
    /// <summary>Registers placement and the singletons of a silo; the composition root and the tests call it.</summary>
    /// <param name="silo">The silo.</param>
    /// <param name="configure">Sets the options.</param>
    public static ISiloBuilder AddClusterGrains(this ISiloBuilder silo, Action<ClusterOptions> configure)
    {
        IServiceCollection services = silo.Services;
        services.Configure(configure);
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<ShardGroups>();
        services.TryAddSingleton<ShardHost>();
        services.TryAddSingleton<ModelCatalog>();
        services.TryAddSingleton<ClusterMetrics>();
        services.TryAddSingleton<IProposerFactory, Proposers>();
        services.AddPlacementDirector<ShardPlacement, ShardPlacementDirector>();
        return silo;
    }
}
