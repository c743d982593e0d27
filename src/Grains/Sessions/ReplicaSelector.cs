using System.Collections.Concurrent;
using Cluster.Contracts;
using Cluster.Grains.Topology;

namespace Cluster.Grains.Sessions;

/// <summary>
/// Picks the replica that a session's sequences go to: the least loaded ready one. One per silo; the topology is asked
/// at most twice a second, and what this silo has submitted since then is counted on top of the reported load.
/// </summary>
internal sealed class ReplicaSelector(IGrainFactory grains, TimeProvider time)
{
    private static readonly TimeSpan Freshness = TimeSpan.FromMilliseconds(500);

    private readonly ConcurrentDictionary<string, int> _submitted = new(StringComparer.Ordinal);
    private volatile Snapshot? _snapshot;
    private Task<Snapshot>? _refresh;

    /// <summary>
    /// The least loaded ready replica of a model. One that is complete but not ready is taken when there is no other: it
    /// recovers when it is asked. Null when there is none outside <paramref name="excluded"/>.
    /// </summary>
    public async ValueTask<ReplicaDescription?> SelectAsync(string model, IReadOnlyCollection<string> excluded, CancellationToken cancellationToken)
    {
        ReplicaDescription? best = null;
        (bool IsUnready, int Load) least = (true, int.MaxValue);
        foreach (ReplicaDescription replica in await CompleteAsync(model, cancellationToken))
        {
            if (excluded.Contains(replica.Key))
                continue;
            int load = replica.Load.Running + (2 * replica.Load.Waiting) + _submitted.GetValueOrDefault(replica.Key);
            (bool IsUnready, int Load) rank = (!replica.Load.Ready, load);
            if (best is not null && rank.CompareTo(least) >= 0)
                continue;
            (best, least) = (replica, rank);
        }

        if (best is not null)
            _submitted.AddOrUpdate(best.Key, 1, static (_, count) => count + 1);
        return best;
    }

    /// <summary>Whether every replica of a model has a full queue, as far as is known.</summary>
    public async ValueTask<bool> IsFullAsync(string model, int maxQueued, CancellationToken cancellationToken)
    {
        ReplicaDescription[] replicas = [.. await CompleteAsync(model, cancellationToken)];
        return replicas.Length > 0 && replicas.All(replica => replica.Load.Waiting >= maxQueued);
    }

    /// <summary>There is no replica: asks for one, in case the model is scaled to zero, and forgets what is known.</summary>
    public async ValueTask WakeAsync(string model)
    {
        Invalidate();
        await grains.GetGrain<ITopologyControlGrain>(0).Wake(model);
    }

    /// <summary>Forgets what is known: a replica did not answer as expected.</summary>
    public void Invalidate() => _snapshot = null;

    private async ValueTask<IEnumerable<ReplicaDescription>> CompleteAsync(string model, CancellationToken cancellationToken)
    {
        Snapshot snapshot = await CurrentAsync(cancellationToken);
        return snapshot.Topology.Replicas.Where(replica => replica.Model == model && TopologySnapshot.IsComplete(replica.Shards));
    }

    private async ValueTask<Snapshot> CurrentAsync(CancellationToken cancellationToken)
    {
        if (_snapshot is { } known && time.GetElapsedTime(known.Taken) < Freshness)
            return known;
        Task<Snapshot>? refresh = _refresh;
        if (refresh is null || refresh.IsCompleted)
            _refresh = refresh = RefreshAsync();
        return await refresh.WaitAsync(cancellationToken);
    }

    private async Task<Snapshot> RefreshAsync()
    {
        ClusterTopology topology = await grains.GetGrain<ITopologyGrain>(0).Get(CancellationToken.None);
        var snapshot = new Snapshot(topology, time.GetTimestamp());
        _submitted.Clear();
        _snapshot = snapshot;
        return snapshot;
    }

    private sealed record Snapshot(ClusterTopology Topology, long Taken);
}
