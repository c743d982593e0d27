using Cluster.Grains.Replicas;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Serialization;
using Orleans.Storage;

namespace Cluster.Grains.Sessions;

/// <summary>What every session of a silo uses.</summary>
internal sealed record SessionServices(
    IGrainStorage Storage,
    Serializer<AcceptRecord> Serializer,
    RequestAdmission Admission,
    ModelCatalog Models,
    ReplicaSelector Replicas,
    ClusterMetrics Metrics,
    IOptions<ClusterOptions> Options,
    Func<string, ITargetReplicaGrain> Replica,
    TimeProvider Time,
    ILogger<SessionGrain> Logger)
{
    /// <summary>How long a session is kept after its end or its last reader.</summary>
    public TimeSpan Retention => TimeSpan.FromSeconds(Options.Value.SessionRetention);

    /// <summary>Unix milliseconds now.</summary>
    public long Now => Time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Registers what sessions need on a silo. The model catalog, metrics, options and the default grain storage are the host's.</summary>
    public static void Register(IServiceCollection services)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.TryAddSingleton<SeedSource>();
        services.TryAddSingleton<RequestAdmission>();
        services.TryAddSingleton<PrefixAffinity>();
        services.TryAddSingleton<ReplicaSelector>();
        services.TryAddSingleton(provider => new SessionServices(
            provider.GetRequiredKeyedService<IGrainStorage>("Default"),
            provider.GetRequiredService<Serializer<AcceptRecord>>(),
            provider.GetRequiredService<RequestAdmission>(),
            provider.GetRequiredService<ModelCatalog>(),
            provider.GetRequiredService<ReplicaSelector>(),
            provider.GetRequiredService<ClusterMetrics>(),
            provider.GetRequiredService<IOptions<ClusterOptions>>(),
            key => provider.GetRequiredService<IGrainFactory>().GetGrain<ITargetReplicaGrain>(key),
            provider.GetRequiredService<TimeProvider>(),
            provider.GetRequiredService<ILogger<SessionGrain>>()));
        services.AddSingleton<ILifecycleParticipant<ISiloLifecycle>, SessionSweeper>();
    }
}
