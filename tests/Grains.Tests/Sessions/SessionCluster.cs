using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Sessions;
using Cluster.Grains.Topology;
using Cluster.TestKit;
using Microsoft.Extensions.DependencyInjection;
using Orleans;
using Orleans.Configuration;
using Orleans.Core.Internal;
using Orleans.Hosting;
using Orleans.Runtime;
using Orleans.Storage;
using Orleans.TestingHost;

namespace Cluster.Grains.Tests.Sessions;

/// <summary>One silo with real sessions and topology, over a fake replica and a storage that can fail.</summary>
public sealed class SessionCluster : IAsyncLifetime
{
    private InProcessTestCluster? _cluster;

    internal FaultyStorage Storage { get; init; } = new();

    internal FakeReplica Replica { get; init; } = new();

    internal Action<ClusterOptions> Configure { get; init; } = _ => { };

    /// <summary>Whether a replica is reported at the start.</summary>
    internal bool HasReplica { get; init; } = true;

    internal IGrainFactory Grains => _cluster!.Client;

    /// <summary>Grains as the silo's own gateway sees them.</summary>
    internal IGrainFactory Local => _cluster!.Silos[0].ServiceProvider.GetRequiredService<IGrainFactory>();

    public async ValueTask InitializeAsync()
    {
        var builder = new InProcessTestClusterBuilder(1);
        builder.Options.ConfigureFileLogging = false;
        builder.ConfigureSilo((_, silo) => Add(silo));
        _cluster = builder.Build();
        await _cluster.DeployAsync();
        if (HasReplica)
            await ReportReplicaAsync();
    }

    public ValueTask DisposeAsync() => _cluster is null ? ValueTask.CompletedTask : _cluster.DisposeAsync();

    internal async Task<SessionCluster> StartAsync()
    {
        await InitializeAsync();
        return this;
    }

    internal Task ReportReplicaAsync()
    {
        string silo = _cluster!.Silos[0].Name;
        string[] models = [TestModels.TokensOnly, TestModels.Bytes, TestModels.Chat];
        return Grains.GetGrain<ITopologyControlGrain>(0).Report(new SiloReport
        {
            Silo = new SiloDescription(silo, ["cpu:0"], "http://localhost"),
            Declarations = [.. models.Select(model => Declarations.Of(model))],
            Shards = [.. models.Select(model => new ShardReport($"{silo}/cpu:0/{model}/0/0", ShardState.Ready, null, -1))],
        });
    }

    internal ISessionGrain Session(string id) => Grains.GetGrain<ISessionGrain>(id);

    internal ReplicaScript Script(string id) => Replica.Script(id);

    /// <summary>Deactivates a session's activation, as a rebalancing or a code error would.</summary>
    internal async Task DeactivateAsync(string id)
    {
        await Session(id).AsReference<IGrainManagementExtension>().DeactivateOnIdle();
    }

    internal async Task<List<SessionEvent>> ReadAsync(string id, long from = 0, int most = int.MaxValue, string owner = "")
    {
        var events = new List<SessionEvent>();
        await foreach (SessionEvent next in Session(id).Attach(owner, from, CancellationToken.None))
        {
            events.Add(next);
            if (events.Count >= most)
                break;
        }

        return events;
    }

    /// <summary>Starts a session and reads it to its end.</summary>
    internal async Task<List<SessionEvent>> RunAsync(string id, GenerationRequest request)
    {
        await Session(id).Start(request, CancellationToken.None);
        return await ReadAsync(id);
    }

    internal static string NewId() => "s" + Guid.NewGuid().ToString("N");

    /// <summary>Everything of an event that a client sees.</summary>
    internal static string Spell(SessionEvent next) =>
        $"{next.SequenceNumber} {next.Kind} {next.Choice} {next.TokenId} '{next.Text}' {next.Logprob?.Token.Logprob} {next.FinishReason} {next.StopString} {next.StopToken} {next.Usage}";

    private void Add(ISiloBuilder silo)
    {
        var models = new ModelCatalog();
        models.Add(TestModels.WithoutTokenizer);
        models.Add(TestModels.WithTokenizer);
        models.Add(TestModels.WithTemplate);
        silo.Services.AddSingleton(models);
        silo.Services.AddSingleton<ClusterMetrics>();
        silo.Services.Configure(Configure);
        silo.Services.AddKeyedSingleton<IGrainStorage>("Default", Storage);
        SessionServices.Register(silo.Services);
        ServiceDescriptor services = silo.Services.Last(descriptor => descriptor.ServiceType == typeof(SessionServices));
        silo.Services.AddSingleton(provider => (SessionServices)services.ImplementationFactory!(provider) with { Replica = _ => Replica });
        // Doubles of the topology that other tests bring along would be found too.
        silo.Services.PostConfigure<GrainTypeOptions>(options => options.Classes.RemoveWhere(
            type => typeof(ITopologyControlGrain).IsAssignableFrom(type) && type != typeof(TopologyGrain)));
    }
}
