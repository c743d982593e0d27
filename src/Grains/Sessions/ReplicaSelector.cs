using System.Collections.Concurrent;
using Cluster.Contracts;
using Cluster.Grains.Topology;

namespace Cluster.Grains.Sessions;

/// <summary>
/// Picks the replica that a session's sequences go to, by load and by what its prefix cache should hold. One per silo; the
/// topology is asked at most twice a second, and what this silo has submitted since then is counted on top of the reported load.
/// </summary>
internal sealed class ReplicaSelector(IGrainFactory grains, PrefixAffinity affinity, TimeProvider time)
{
    // More sequences in a batch cost far less than a prompt: a few more are no reason to compute one again.
    private const int AcceptedImbalance = 8;
    private static readonly TimeSpan Freshness = TimeSpan.FromMilliseconds(500);

    private readonly ConcurrentDictionary<string, int> _submitted = new(StringComparer.Ordinal);
    private volatile Snapshot? _snapshot;
    private Task<Snapshot>? _refresh;

    /// <summary>
    /// The replica for a prompt: of those that are hardly busier than the least loaded one, the one that was given the longest
    /// beginning of it. One that is complete but not ready is taken when there is no other: it recovers when it is asked. Null
    /// when there is none outside <paramref name="excluded"/>.
    /// </summary>
    public async ValueTask<ReplicaDescription?> SelectAsync(
        string model, ReadOnlyMemory<int> prompt, IReadOnlyCollection<string> excluded, CancellationToken cancellationToken)
    {
        ReplicaDescription[] candidates = [.. (await CompleteAsync(model, cancellationToken)).Where(replica => !excluded.Contains(replica.Key))];
        if (candidates.Length == 0)
            return null;
        ReplicaDescription best = candidates.Length == 1 ? candidates[0] : Choose(candidates, affinity.Match(model, prompt.Span));
        affinity.Note(model, prompt.Span, best.Key);
        _submitted.AddOrUpdate(best.Key, 1, static (_, count) => count + 1);
        return best;
    }

    private ReplicaDescription Choose(ReplicaDescription[] candidates, IReadOnlyDictionary<string, int> matches)
    {
        int least = candidates.Where(replica => replica.Load.Ready).Select(LoadOf).DefaultIfEmpty(int.MaxValue).Min();
        return candidates
            .OrderBy(replica => !replica.Load.Ready)
            .ThenByDescending(replica => least != int.MaxValue && LoadOf(replica) <= least + AcceptedImbalance ? matches.GetValueOrDefault(replica.Key) : 0)
            .ThenBy(LoadOf)
            .First();
    }

    private int LoadOf(ReplicaDescription replica) => replica.Load.Running + (2 * replica.Load.Waiting) + _submitted.GetValueOrDefault(replica.Key);

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
