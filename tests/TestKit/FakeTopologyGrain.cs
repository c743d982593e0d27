using System.Collections.Concurrent;
using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Topology;

namespace Cluster.TestKit;

/// <summary>What <see cref="FakeTopologyGrain"/> answers, and what it was told.</summary>
internal sealed class FakeTopology
{
    private long _epoch;

    /// <summary>Shards by replica key.</summary>
    public ConcurrentDictionary<string, ImmutableArray<string>> Shards { get; } = new(StringComparer.Ordinal);

    /// <summary>Last load by replica key.</summary>
    public ConcurrentDictionary<string, ReplicaLoad> Loads { get; } = new(StringComparer.Ordinal);

    /// <summary>Epochs opened so far.</summary>
    public long Epoch => Interlocked.Read(ref _epoch);

    /// <summary>How replicas guess tokens ahead.</summary>
    public SpeculativeConfig? Speculation { get; set; }

    /// <summary>Called before an epoch is opened: tests throw here.</summary>
    public Action? BeforeOpen { get; set; }

    /// <summary>The next epoch.</summary>
    public long NextEpoch() => Interlocked.Increment(ref _epoch);
}

/// <summary>A topology that only hands out epochs: replicas are tested against it alone.</summary>
internal sealed class FakeTopologyGrain(FakeTopology topology) : Grain, ITopologyControlGrain
{
    /// <inheritdoc/>
    public Task<ClusterTopology> Get(CancellationToken cancellationToken) => Task.FromResult(new ClusterTopology(topology.Epoch, [], [], []));

    /// <inheritdoc/>
    public Task<SiloOrders> Report(SiloReport report) => Task.FromResult(new SiloOrders([], []));

    /// <inheritdoc/>
    public Task<ModelDeclaration> Scale(string model, ModelScale scale) => throw new NotSupportedException();

    /// <inheritdoc/>
    public Task<SiloDescription> Drain(string silo, bool draining) => throw new NotSupportedException();

    /// <inheritdoc/>
    public Task Wake(string model) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task<ReplicaAssignment> OpenReplica(string replicaKey)
    {
        topology.BeforeOpen?.Invoke();
        if (!topology.Shards.TryGetValue(replicaKey, out ImmutableArray<string> shards))
            throw new RequestRejectedException(RejectionReason.Overloaded, $"Replica {replicaKey} has no shards.", retryAfterSeconds: 1);
        return Task.FromResult(new ReplicaAssignment(replicaKey[..replicaKey.LastIndexOf('/')], topology.NextEpoch(), shards) { Speculation = topology.Speculation });
    }

    /// <inheritdoc/>
    public Task ReportLoad(string replicaKey, ReplicaLoad load)
    {
        topology.Loads[replicaKey] = load;
        return Task.CompletedTask;
    }
}
