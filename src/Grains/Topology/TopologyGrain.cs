using System.Collections.Immutable;
using System.Security.Cryptography;
using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Grains.Shards;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Concurrency;

namespace Cluster.Grains.Topology;

/// <summary>
/// The one place that knows who is there, what is asked for and which device holds what, and that gives out epochs. Silos
/// report to it and take its orders from the answer, so it can move to another silo at any time. What was declared, planned
/// or given out is written before it is answered; loads and the progress of shards are only remembered: they come again
/// within half a second. A silo counts while the process that reported is a member.
/// </summary>
[KeepAlive]
internal sealed partial class TopologyGrain(
    [PersistentState("topology", "Default")] IPersistentState<TopologyState> state,
    IClusterMembershipService membership,
    IOptions<ClusterOptions> options,
    TimeProvider time,
    ILogger<TopologyGrain> logger) : Grain, ITopologyControlGrain
{
    private const int SecretBytes = 32;
    private readonly Dictionary<string, ReplicaLoad> _loads = new(StringComparer.Ordinal);

    /// <inheritdoc/>
    public Task<ClusterTopology> Get(CancellationToken cancellationToken) => Task.FromResult(Snapshot());

    /// <inheritdoc/>
    public async Task<SiloOrders> Report(SiloReport report)
    {
        string name = report.Silo.Name;
        string? address = AddressOf(name);
        Remember(report);
        KnownSilo? known = state.State.Silos.GetValueOrDefault(name);
        var silo = new KnownSilo(report.Silo with { IsDraining = false }, address, known is not null && known.Address == address && known.IsDraining);
        Dictionary<string, ModelDeclaration>? declarations = NewDeclarations(report, isNew: known?.Address != address || known is null);
        bool isChanged = known is null || !IsSame(known, silo) || declarations is not null;
        await ReconcileAsync(!isChanged ? null : topology =>
        {
            topology.Silos[name] = silo;
            topology.Declarations = declarations ?? topology.Declarations;
        });
        return OrdersOf(name);
    }

    /// <inheritdoc/>
    public async Task<ModelDeclaration> Scale(string model, ModelScale scale)
    {
        ModelDeclaration declaration = state.State.Declarations.GetValueOrDefault(model)
            ?? throw new RequestRejectedException(RejectionReason.ModelNotFound, $"The model '{model}' is not declared. Declared: {string.Join(", ", state.State.Declarations.Keys.Order(StringComparer.Ordinal))}.", "model");
        ModelDeclaration scaled = DeclaredModels.Scaled(declaration, scale);
        Sleep(model);
        if (scaled != declaration)
        {
            await ReconcileAsync(topology => topology.Declarations[model] = scaled);
            LogScaled(model, scaled.Replicas?.ToString() ?? "auto", scaled.Layout.TensorParallelSize, scaled.Layout.PipelineParallelSize);
        }

        return scaled;
    }

    /// <inheritdoc/>
    public async Task<SiloDescription> Drain(string silo, bool draining)
    {
        if (!state.State.Silos.TryGetValue(silo, out KnownSilo? known) || !IsPresent(known))
            throw new RequestRejectedException(RejectionReason.InvalidRequest, $"There is no silo '{silo}'. Silos: {string.Join(", ", Present().Select(other => other.Description.Name))}.", "silo");
        if (known.IsDraining != draining)
        {
            await ReconcileAsync(topology => topology.Silos[silo] = known with { IsDraining = draining });
            LogDraining(silo, draining);
        }

        return known.Description with { IsDraining = draining };
    }

    /// <inheritdoc/>
    public async Task<ReplicaAssignment> OpenReplica(string replicaKey)
    {
        PlacedReplica? replica = state.State.Replicas.FirstOrDefault(replica => replica.Key == replicaKey);
        ShardReport?[] shards = replica is null ? [] : [.. replica.Places.Select((_, rank) => ReportOf(replica.ShardKeyOf(rank)))];
        int loaded = shards.Count(shard => shard?.State == ShardState.Ready);
        if (replica is null || loaded < shards.Length)
        {
            string reason = replica is null ? "is not planned (any more)" : $"has {loaded} of its {shards.Length} shards loaded";
            throw new ReplicaUnavailableException($"Replica {replicaKey} {reason}.");
        }

        _loads.Remove(replicaKey);
        // Shards may know more than the store, when the store lost something.
        long epoch = Math.Max(state.State.Epochs.GetValueOrDefault(replicaKey), shards.Max(shard => shard!.Epoch)) + 1;
        await ChangeAsync(topology => topology.Epochs[replicaKey] = epoch);
        var assignment = new ReplicaAssignment(replica.Model, epoch, [.. replica.Places.Select((_, rank) => replica.ShardKeyOf(rank))]) 
        {
            Layout = replica.Layout,
            Speculation = state.State.Declarations.GetValueOrDefault(replica.Model)?.Speculation,
        };
        return replica.Layout.Shards == 1 ? assignment : assignment with
        {
            Endpoints = [.. replica.Places.Select(place => state.State.Silos[place.Silo].Description.MeshEndpoint ?? "")],
            Secret = [.. RandomNumberGenerator.GetBytes(SecretBytes)],
        };
    }

    /// <inheritdoc/>
    public Task ReportLoad(string replicaKey, ReplicaLoad load)
    {
        _loads[replicaKey] = load;
        if (load.Running + load.Waiting > 0)
            Touch(ReplicaModel(replicaKey));
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task Wake(string model)
    {
        if (state.State.Declarations.GetValueOrDefault(model) is not { Replicas: 0 })
            return Task.CompletedTask;
        KeepAwake(model, time.GetTimestamp());
        return ReconcileAsync(null);
    }

    private ClusterTopology Snapshot()
    {
        // Both counters only grow, so their sum changes with either.
        long version = state.State.Version + membership.CurrentSnapshot.Version.Value;
        return TopologySnapshot.For(version, Present().Select(silo => silo.Description with { IsDraining = silo.IsDraining }), state.State, PresentReports(), _loads);
    }

    // An epoch is given out only after it is written: two activations can never give the same one.
    private async Task ChangeAsync(Action<TopologyState> change)
    {
        change(state.State);
        state.State.Version++;
        try
        {
            await state.WriteStateAsync();
        }
        catch (Exception e)
        {
            // What the store holds now is not known: the next activation reads it. The store's own exception may not exist at the caller.
            DeactivateOnIdle();
            throw new OrleansException($"The topology could not be written: {e.GetType().Name}: {e.Message}");
        }
    }

    private IEnumerable<KnownSilo> Present() => state.State.Silos.Values.Where(IsPresent).OrderBy(silo => silo.Description.Name, StringComparer.Ordinal);

    private string? AddressOf(string name) => membership.CurrentSnapshot.Members.Values
        .Where(member => member.Name == name && IsMember(member.Status))
        .MaxBy(member => member.SiloAddress.Generation)?.SiloAddress.ToParsableString();

    private bool IsPresent(KnownSilo silo) => silo.Address is null || membership.CurrentSnapshot.Members.Values
        .Any(member => IsMember(member.Status) && member.SiloAddress.ToParsableString() == silo.Address);

    private static bool IsMember(SiloStatus status) => status is SiloStatus.Joining or SiloStatus.Active;

    private static string ReplicaModel(string replicaKey) => replicaKey[..Math.Max(0, replicaKey.LastIndexOf('/'))];

    private static bool IsSame(KnownSilo known, KnownSilo reported) =>
        known.Address == reported.Address
        && known.Description.HttpUrl == reported.Description.HttpUrl
        && known.Description.MeshEndpoint == reported.Description.MeshEndpoint
        && known.Description.Devices.SequenceEqual(reported.Description.Devices);

    [LoggerMessage(Level = LogLevel.Information, Message = "Model {Model} is scaled to {Replicas} replicas of {Tensor} tensor ranks and {Stages} pipeline stages")]
    private partial void LogScaled(string model, string replicas, int tensor, int stages);

    [LoggerMessage(Level = LogLevel.Information, Message = "Silo {Silo}: draining is {Draining}")]
    private partial void LogDraining(string silo, bool draining);
}
