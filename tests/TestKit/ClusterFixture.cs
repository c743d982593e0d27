using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Replicas;
using Cluster.Grains.Shards;
using Cluster.Grains.Topology;
using Cluster.Kernels.Execution;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.Metadata;
using Orleans.Runtime;
using Orleans.Serialization;
using Orleans.Storage;
using Orleans.TestingHost;
using ClusterOptions = Cluster.Grains.ClusterOptions;

namespace Cluster.TestKit;

/// <summary>
/// A whole cluster in the test process: silos with in-memory transport and shared in-memory storage, on fake engines or
/// any others. Everything that a test may want to change is set before <see cref="StartAsync"/>.
/// </summary>
internal sealed class ClusterFixture : IAsyncDisposable
{
    // On a busy machine, clusters that start together miss each other's connection limits.
    private static readonly SemaphoreSlim Starting = new(1);
    private readonly Dictionary<string, IShardEngine> _engines = new(StringComparer.Ordinal);
    private InProcessTestCluster? _cluster;

    /// <summary>Name under which the fixture serves its model.</summary>
    public const string Model = "fake";

    /// <summary>Number of silos to start.</summary>
    public int Silos { get; init; } = 1;

    /// <summary>Sets options, for every silo.</summary>
    public Action<ClusterOptions> Configure { get; init; } = _ => { };

    /// <summary>Further registrations, for every silo.</summary>
    public Action<ISiloBuilder> ConfigureSilo { get; init; } = _ => { };

    /// <summary>Makes the engine of shard <c>rank</c> of replica <c>replica</c>; the fixture disposes it.</summary>
    public Func<int, int, IShardEngine> Engine { get; init; } = (_, _) => new FakeShardEngine();

    /// <summary>Replicas of the model, placed round the silos.</summary>
    public int Replicas { get; init; } = 1;

    /// <summary>Ranks of each replica.</summary>
    public int ShardsPerReplica { get; init; } = 1;

    /// <summary>Whether the real topology runs instead of <see cref="FakeTopologyGrain"/>; the fixture joins its silos.</summary>
    public bool RealTopology { get; init; }

    /// <summary>Rows that outlive a silo.</summary>
    public SharedMemoryStorage Storage { get; } = new();

    /// <summary>The double of the topology.</summary>
    public FakeTopology Topology { get; } = new();

    /// <summary>The cluster.</summary>
    public InProcessTestCluster Cluster => _cluster ?? throw new InvalidOperationException("The fixture was not started.");

    /// <summary>Grains, as a client of the cluster sees them.</summary>
    public IGrainFactory Grains => Cluster.Client;

    /// <summary>Services of a silo.</summary>
    public IServiceProvider ServicesOf(int silo) => Cluster.Silos[silo].ServiceProvider;

    /// <summary>A replica.</summary>
    public ITargetReplicaGrain Replica(int index = 0) => Grains.GetGrain<ITargetReplicaGrain>($"{Model}/{index}");

    /// <summary>Key of a shard.</summary>
    public string ShardKeyOf(int replica = 0, int rank = 0) =>
        new ShardKey(Cluster.Silos[replica % Silos].Name, $"cpu:{rank}", Model, replica, rank).ToString();

    /// <summary>The engine of a shard.</summary>
    public IShardEngine EngineOf(int replica = 0, int rank = 0) => _engines[ShardKeyOf(replica, rank)];

    /// <summary>The fake engine of a shard.</summary>
    public FakeShardEngine Fake(int replica = 0, int rank = 0) => (FakeShardEngine)EngineOf(replica, rank);

    /// <summary>Starts the silos and loads the engines.</summary>
    public async Task<ClusterFixture> StartAsync()
    {
        var builder = new InProcessTestClusterBuilder((short)Silos);
        builder.Options.ConfigureFileLogging = false;
        builder.ConfigureSilo((_, silo) => Add(silo));
        _cluster = builder.Build();
        await Starting.WaitAsync();
        try
        {
            await _cluster.DeployAsync();
        }
        finally
        {
            Starting.Release();
        }

        for (int replica = 0; replica < Replicas; replica++)
        {
            Topology.Shards[$"{Model}/{replica}"] = [.. Enumerable.Range(0, ShardsPerReplica).Select(rank => ShardKeyOf(replica, rank))];
            for (int rank = 0; rank < ShardsPerReplica; rank++)
                Load(replica, rank, Engine(replica, rank));
        }

        if (RealTopology)
            await JoinAllAsync();
        return this;
    }

    /// <summary>Tells the real topology what a silo has loaded: the replicas run, so it takes them over as they are.</summary>
    public Task JoinAsync(int silo) => ReportAsync(silo, declares: true);

    private async Task JoinAllAsync()
    {
        // Nothing is planned before the model is declared, and then all replicas are known.
        for (int silo = 0; silo < Silos; silo++)
            await ReportAsync(silo, declares: false);
        await JoinAsync(0);
    }

    private Task ReportAsync(int silo, bool declares)
    {
        string name = Cluster.Silos[silo].Name;
        ShardKey[] shards = [.. _engines.Keys.Select(ShardKey.Parse).Where(key => key.Silo == name)];
        ModelDeclaration model = Declarations.Of(Model, new ModelLayout(ShardsPerReplica, 1), Replicas, _engines.Values.Min(engine => engine.Spec.MaxModelLength));
        return Grains.GetGrain<ITopologyControlGrain>(0).Report(new SiloReport
        {
            Silo = new SiloDescription(name, [.. shards.Select(shard => shard.Device).Distinct()], ""),
            Declarations = declares ? [model] : [],
            Shards = [.. shards.Select(key => new ShardReport(key.ToString(), ShardState.Ready, null, -1))],
        });
    }

    /// <summary>Loads an engine in place of the one that was there.</summary>
    public void Load(int replica, int rank, IShardEngine engine)
    {
        ShardHost host = ServicesOf(replica % Silos).GetRequiredService<ShardHost>();
        string key = ShardKeyOf(replica, rank);
        host.Remove(key);
        host.Add(key, engine);
        _engines[key] = engine;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_cluster is not null)
            await _cluster.DisposeAsync();
        foreach (IShardEngine engine in _engines.Values)
            await engine.DisposeAsync();
    }

    private void Add(ISiloBuilder silo)
    {
        silo.AddClusterGrains(Configure);
        silo.Services.AddSingleton(Topology);
        silo.Configure<GrainTypeOptions>(types => types.Classes.RemoveWhere(
            type => typeof(ITopologyGrain).IsAssignableFrom(type) && (type == typeof(FakeTopologyGrain)) == RealTopology));
        silo.Services.AddKeyedSingleton<IGrainStorage>("Default", (services, _) => Storage.For(services.GetRequiredService<Serializer>()));
        ConfigureSilo(silo);
    }
}
