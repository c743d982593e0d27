using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Grains.Topology;

/// <summary>One run of <see cref="TopologyPlan.For"/>.</summary>
internal sealed class TopologyPlanning
{
    private readonly PlanningState _state;
    private readonly List<PlacedReplica> _staying = [];
    private readonly List<PlacedReplica> _leaving = [];
    private readonly Dictionary<DevicePlace, int> _shards = [];
    private readonly Dictionary<string, int> _nextNumbers;
    private readonly ModelDeclaration[] _declarations;

    public TopologyPlanning(PlanningState state)
    {
        _state = state;
        _nextNumbers = new Dictionary<string, int>(state.NextNumbers, StringComparer.Ordinal);
        _declarations = [.. state.Declarations];
        foreach (DevicePlace device in state.Devices)
            _shards[device] = 0;
        Sort();
    }

    public TopologyPlan Run()
    {
        for (int i = 0; i < _staying.Count; i++)
            Repair(i);
        foreach (ModelDeclaration declaration in _declarations)
            RemoveSurplus(declaration);
        Fill();
        foreach (ModelDeclaration declaration in _declarations)
            LetGo(declaration);
        ImmutableArray<PlacedReplica> replicas = [.. _staying.Concat(_leaving).OrderBy(replica => replica.Model, StringComparer.Ordinal).ThenBy(replica => replica.Number)];
        return new TopologyPlan(replicas, _nextNumbers.ToImmutableDictionary());
    }

    private bool Lives(DevicePlace place) => _shards.ContainsKey(place) || _state.Leaving.Contains(place);

    // Dead replicas and undeclared models are in neither list.
    private void Sort()
    {
        foreach (PlacedReplica replica in _state.Placed)
        {
            ModelDeclaration? declaration = _declarations.FirstOrDefault(declaration => declaration.Description.Name == replica.Model);
            if (declaration is null || !replica.Places.Any(Lives))
                continue;
            bool leaves = replica.Layout != declaration.Layout || replica.Places.Any(_state.Leaving.Contains);
            (leaves ? _leaving : _staying).Add(replica);
            Count(replica, 1);
        }
    }

    private void Count(PlacedReplica replica, int change)
    {
        foreach (DevicePlace place in replica.Places)
        {
            if (_shards.TryGetValue(place, out int shards))
                _shards[place] = shards + change;
        }
    }

    private bool IsUsable(string model, DevicePlace place) => !_state.Unusable.Contains((model, place.Silo));

    private IEnumerable<DevicePlace> Free(string model) => _state.Devices.Where(place => _shards[place] == 0 && IsUsable(model, place));

    private void Repair(int index)
    {
        PlacedReplica replica = _staying[index];
        for (int rank = 0; rank < replica.Places.Length; rank++)
        {
            DevicePlace place = replica.Places[rank];
            if (_shards.ContainsKey(place) && IsUsable(replica.Model, place))
                continue;
            DevicePlace? spare = Free(replica.Model).OrderBy(free => replica.Places.Any(other => other.Silo == free.Silo) ? 0 : 1).Cast<DevicePlace?>().FirstOrDefault();
            if (spare is null)
                continue;
            Count(replica, -1);
            replica = replica with { Places = replica.Places.SetItem(rank, spare.Value) };
            Count(replica, 1);
        }

        _staying[index] = replica;
    }

    private void RemoveSurplus(ModelDeclaration declaration)
    {
        string model = declaration.Description.Name;
        while (declaration.Replicas is { } wanted && Staying(model) > wanted)
            Remove(_staying, _staying.Where(replica => replica.Model == model).OrderBy(replica => _state.Ready.Contains(replica.Key)).ThenByDescending(replica => replica.Number).First());
        if (declaration.Replicas == 0)
        {
            foreach (PlacedReplica replica in _leaving.Where(replica => replica.Model == model).ToArray())
                Remove(_leaving, replica);
        }
    }

    private void Remove(List<PlacedReplica> list, PlacedReplica replica)
    {
        list.Remove(replica);
        Count(replica, -1);
    }

    private int Staying(string model) => _staying.Count(replica => replica.Model == model);

    // One replica for each model first; then models take turns. A model that gets nothing shares a device.
    private void Fill()
    {
        int round = 1;
        while (Grow(round))
            round++;
        foreach (ModelDeclaration declaration in _declarations)
        {
            if (declaration.Replicas != 0 && declaration.Layout.Shards == 1 && Staying(declaration.Description.Name) == 0 && !IsServed(declaration))
                Share(declaration);
        }
    }

    /// <summary>Gives every model that has fewer than <paramref name="replicas"/> one more; false when none has so many and wants more.</summary>
    private bool Grow(int replicas)
    {
        bool goesOn = false;
        foreach (ModelDeclaration declaration in _declarations)
        {
            int have = Staying(declaration.Description.Name);
            int wanted = declaration.Replicas ?? int.MaxValue;
            if (have < replicas && have < wanted && TryPlace(declaration))
                have++;
            goesOn |= have >= replicas && have < wanted;
        }

        return goesOn;
    }

    // A replica that must change its layout gives its own devices to the new one.
    private bool IsServed(ModelDeclaration declaration) =>
        _leaving.Any(replica => replica.Model == declaration.Description.Name && !replica.Places.Any(_state.Leaving.Contains));

    private void Share(ModelDeclaration declaration)
    {
        DevicePlace? least = _state.Devices.Where(place => IsUsable(declaration.Description.Name, place)).OrderBy(place => _shards[place]).Cast<DevicePlace?>().FirstOrDefault();
        if (least is { } place)
            Add(declaration, [place]);
    }

    private void LetGo(ModelDeclaration declaration)
    {
        string model = declaration.Description.Name;
        PlacedReplica[] leaving = [.. _leaving.Where(replica => replica.Model == model)];
        if (leaving.Length == 0)
            return;
        PlacedReplica[] staying = [.. _staying.Where(replica => replica.Model == model)];
        if (staying.Length > 0)
        {
            foreach (PlacedReplica replica in staying.All(replica => _state.Ready.Contains(replica.Key)) ? leaving : [])
                Remove(_leaving, replica);
            return;
        }

        // There is no room beside them. On a draining silo they go on; elsewhere the new layout gets their devices, if it fits there.
        PlacedReplica[] cuts = [.. leaving.Where(replica => !replica.Places.Any(_state.Leaving.Contains))];
        foreach (PlacedReplica replica in cuts)
            Remove(_leaving, replica);
        while (cuts.Length > 0 && Staying(model) < (declaration.Replicas ?? int.MaxValue) && TryPlace(declaration))
        {
        }

        if (Staying(model) > 0)
            return;
        foreach (PlacedReplica replica in cuts)
        {
            _leaving.Add(replica);
            Count(replica, 1);
        }
    }

    private bool TryPlace(ModelDeclaration declaration)
    {
        ImmutableArray<DevicePlace> places = ShardPlacing.Choose(declaration.Layout, [.. Free(declaration.Description.Name)]);
        if (!places.IsEmpty)
            Add(declaration, places);
        return !places.IsEmpty;
    }

    private void Add(ModelDeclaration declaration, ImmutableArray<DevicePlace> places)
    {
        string model = declaration.Description.Name;
        int number = _nextNumbers.GetValueOrDefault(model);
        _nextNumbers[model] = number + 1;
        var replica = new PlacedReplica(model, number, declaration.Layout, places);
        _staying.Add(replica);
        Count(replica, 1);
    }
}
