using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains.Replicas;
using Cluster.Grains.Shards;
using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Topology;

/// <summary>From what is asked for and who is there to who holds what. Planned anew only when something of that has changed.</summary>
internal sealed partial class TopologyGrain
{
    private readonly Dictionary<string, ImmutableArray<ShardReport>> _reports = new(StringComparer.Ordinal);
    private readonly Dictionary<string, long> _awake = new(StringComparer.Ordinal);
    private Dictionary<string, ShardReport> _shardReports = new(StringComparer.Ordinal);
    private long _reportChanges;
    private long _wakeChanges;
    private (long State, long Membership, long Reports, long Wakes) _planned;

    private void Remember(SiloReport report)
    {
        if (_reports.TryGetValue(report.Silo.Name, out ImmutableArray<ShardReport> before) && before.SequenceEqual(report.Shards))
            return;
        _reports[report.Silo.Name] = report.Shards;
        _shardReports = _reports.Values.SelectMany(shards => shards).ToDictionary(shard => shard.Key, StringComparer.Ordinal);
        _reportChanges++;
    }

    private ShardReport? ReportOf(string shardKey) => IsPresent(ShardKey.Parse(shardKey).Silo) ? _shardReports.GetValueOrDefault(shardKey) : null;

    private bool IsPresent(string silo) => state.State.Silos.TryGetValue(silo, out KnownSilo? known) && IsPresent(known);

    private Dictionary<string, ShardReport> PresentReports()
    {
        HashSet<string> present = [.. Present().Select(silo => silo.Description.Name)];
        return _shardReports.Values.Where(shard => present.Contains(ShardKey.Parse(shard.Key).Silo)).ToDictionary(shard => shard.Key, StringComparer.Ordinal);
    }

    // A process declares once, when it is first seen; after that the API has the last word.
    private Dictionary<string, ModelDeclaration>? NewDeclarations(SiloReport report, bool isNew)
    {
        if (!isNew && !report.Declarations.Any(declared => !state.State.Declarations.ContainsKey(declared.Description.Name)))
            return null;
        Dictionary<string, ModelDeclaration> merged = DeclaredModels.Merge(state.State.Declarations, report);
        bool isSame = merged.Count == state.State.Declarations.Count
            && merged.All(entry => state.State.Declarations.TryGetValue(entry.Key, out ModelDeclaration? standing) && standing == entry.Value);
        return isSame ? null : merged;
    }

    private async Task ReconcileAsync(Action<TopologyState>? change)
    {
        FallAsleep();
        (long, long, long, long) now = (state.State.Version, membership.CurrentSnapshot.Version.Value, _reportChanges, _wakeChanges);
        if (change is null && _planned == now)
            return;
        change?.Invoke(state.State);
        PlacedReplica[] before = [.. state.State.Replicas];
        Adopt();
        TopologyPlan plan = Plan();
        if (change is not null || !plan.Replicas.SequenceEqual(before))
        {
            await ChangeAsync(topology =>
            {
                topology.Replicas = [.. plan.Replicas];
                topology.NextNumbers = new Dictionary<string, int>(plan.NextNumbers);
                Forget(topology);
            });
            Announce(before, plan);
        }

        _planned = (state.State.Version, membership.CurrentSnapshot.Version.Value, _reportChanges, _wakeChanges);
    }

    private TopologyPlan Plan()
    {
        KnownSilo[] present = [.. Present()];
        Dictionary<string, ShardReport> reports = PresentReports();
        return TopologyPlan.For(new PlanningState
        {
            Declarations = [.. state.State.Declarations.Values.OrderBy(declaration => declaration.Description.Name, StringComparer.Ordinal).Select(Effective)],
            Devices = [.. present.Where(silo => !silo.IsDraining).SelectMany(PlacesOf)],
            Leaving = present.Where(silo => silo.IsDraining).SelectMany(PlacesOf).ToHashSet(),
            Placed = state.State.Replicas,
            Ready = state.State.Replicas.Where(replica => Enumerable.Range(0, replica.Places.Length)
                .All(rank => reports.GetValueOrDefault(replica.ShardKeyOf(rank))?.State == ShardState.Ready)).Select(replica => replica.Key).ToHashSet(StringComparer.Ordinal),
            Unusable = reports.Values.Where(shard => shard.State == ShardState.Failed).Select(shard => ShardKey.Parse(shard.Key)).Select(key => (key.Model, key.Silo)).ToHashSet(),
            NextNumbers = state.State.NextNumbers,
        });
    }

    private static IEnumerable<DevicePlace> PlacesOf(KnownSilo silo) => silo.Description.Devices.Select(device => new DevicePlace(silo.Description.Name, device));

    private ModelDeclaration Effective(ModelDeclaration declaration) =>
        declaration.Replicas == 0 && _awake.ContainsKey(declaration.Description.Name) ? declaration with { Replicas = 1 } : declaration;

    // What runs although nobody knows of it (the store lost the plan) is not loaded a second time.
    private void Adopt()
    {
        IEnumerable<IGrouping<string, ShardKey>> unknown = _shardReports.Values
            .Where(shard => shard.State == ShardState.Ready && ReportOf(shard.Key) is not null)
            .Select(shard => ShardKey.Parse(shard.Key))
            .Where(key => key.Replica >= state.State.NextNumbers.GetValueOrDefault(key.Model))
            .GroupBy(key => key.ReplicaKey);
        foreach (IGrouping<string, ShardKey> replica in unknown.OrderBy(replica => replica.Key, StringComparer.Ordinal).ToArray())
        {
            ShardKey[] ranks = [.. replica.OrderBy(key => key.Rank)];
            if (!state.State.Declarations.TryGetValue(ranks[0].Model, out ModelDeclaration? declaration) || !ranks.Select(key => key.Rank).SequenceEqual(Enumerable.Range(0, declaration.Layout.Shards)))
                continue;
            state.State.Replicas.Add(new PlacedReplica(ranks[0].Model, ranks[0].Replica, declaration.Layout, [.. ranks.Select(key => new DevicePlace(key.Silo, key.Device))]));
            LogAdopted(replica.Key);
        }

        foreach (PlacedReplica replica in state.State.Replicas)
            state.State.NextNumbers[replica.Model] = Math.Max(state.State.NextNumbers.GetValueOrDefault(replica.Model), replica.Number + 1);
    }

    private void Announce(PlacedReplica[] before, TopologyPlan plan)
    {
        foreach (PlacedReplica replica in plan.Replicas.Except(before))
            LogPlanned(replica.Key, string.Join(", ", replica.Places.Select(place => $"{place.Silo}/{place.Device}")));
        HashSet<string> planned = [.. plan.Replicas.Select(replica => replica.Key)];
        foreach (PlacedReplica replica in before.Where(replica => !planned.Contains(replica.Key)))
        {
            LogRemoved(replica.Key);
            GrainFactory.GetGrain<ITargetReplicaGrain>(replica.Key).Retire().Ignore();
        }
    }

    // With its number a replica's epoch is done with, too: neither is used again.
    private void Forget(TopologyState topology)
    {
        foreach (string silo in topology.Silos.Values.Where(silo => !IsPresent(silo)).Select(silo => silo.Description.Name).ToArray())
        {
            topology.Silos.Remove(silo);
            _reports.Remove(silo);
        }

        HashSet<string> planned = [.. topology.Replicas.Select(replica => replica.Key)];
        foreach (string replica in _loads.Keys.Where(replica => !planned.Contains(replica)).ToArray())
            _loads.Remove(replica);
        foreach (string replica in topology.Epochs.Keys.Where(replica => !planned.Contains(replica)).ToArray())
            topology.Epochs.Remove(replica);
    }

    private SiloOrders OrdersOf(string silo)
    {
        var shards = ImmutableArray.CreateBuilder<ShardOrder>();
        foreach (PlacedReplica replica in state.State.Replicas)
        {
            for (int rank = 0; rank < replica.Places.Length; rank++)
            {
                if (replica.Places[rank].Silo == silo)
                    shards.Add(new ShardOrder(replica.ShardKeyOf(rank), replica.Model, replica.Layout));
            }
        }

        return new SiloOrders([.. state.State.Declarations.Values], shards.ToImmutable());
    }

    private void Touch(string model)
    {
        if (_awake.ContainsKey(model))
            _awake[model] = time.GetTimestamp();
    }

    private void FallAsleep()
    {
        foreach (ModelDeclaration declaration in state.State.Declarations.Values.Where(declaration => declaration.Replicas == 0))
        {
            string model = declaration.Description.Name;
            // A new activation finds a replica that an earlier one woke.
            if (!_awake.TryGetValue(model, out long since) && state.State.Replicas.Any(replica => replica.Model == model))
                KeepAwake(model, since = time.GetTimestamp());
            if (_awake.ContainsKey(model) && time.GetElapsedTime(since).TotalSeconds >= options.Value.IdleTimeout)
                Sleep(model);
        }
    }

    private void KeepAwake(string model, long since)
    {
        _wakeChanges += _awake.ContainsKey(model) ? 0 : 1;
        _awake[model] = since;
    }

    private void Sleep(string model) => _wakeChanges += _awake.Remove(model) ? 1 : 0;

    [LoggerMessage(Level = LogLevel.Information, Message = "Replica {Replica} is planned on {Places}")]
    private partial void LogPlanned(string replica, string places);

    [LoggerMessage(Level = LogLevel.Information, Message = "Replica {Replica} is not planned any more")]
    private partial void LogRemoved(string replica);

    [LoggerMessage(Level = LogLevel.Information, Message = "Replica {Replica} runs and was not known: it stays")]
    private partial void LogAdopted(string replica);
}
