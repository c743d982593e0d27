using Cluster.Contracts;
using Cluster.Grains.Shards;
using Cluster.Grains.Topology;

namespace Cluster.Silo.Hosting;

/// <summary>
/// The shards of this silo: those that are loaded, being loaded, or could not be. Only the loop of <see cref="ShardKeeper"/>
/// changes it; anybody may look at <see cref="Loaded"/>.
/// </summary>
internal sealed class ShardStock(ShardLoader loader, ShardHost host, TimeProvider time)
{
    // A shard that could not be loaded is tried again: a volume may be mounted late. The topology must not forget it meanwhile.
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Remembered = TimeSpan.FromMinutes(2);

    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);
    private readonly Dictionary<ShardPart, Task<LoadedShard>> _ahead = [];
    private Task _lastLoad = Task.CompletedTask;

    /// <summary>Loaded shards by key, in the order of their keys.</summary>
    public IReadOnlyList<KeyValuePair<string, LoadedShard>> Loaded { get; private set; } = [];

    /// <summary>Whether nothing is being loaded.</summary>
    public bool IsSettled => _entries.Values.All(entry => entry.State != ShardState.Loading);

    /// <summary>The first failure of a shard of one of these models, or null.</summary>
    public Exception? FailureOf(IEnumerable<string> models) =>
        _entries.Values.FirstOrDefault(entry => entry.Failure is not null && models.Contains(entry.Part.Model))?.Failure;

    /// <summary>Starts to load before anybody ordered it, while the silo itself starts.</summary>
    public void LoadAhead(ModelDeclaration declaration, ShardPart part, CancellationToken cancellationToken) =>
        _ahead[part] = Enqueue(declaration, part, cancellationToken);

    /// <summary>What the topology is told.</summary>
    public IEnumerable<ShardReport> Reports() =>
        _entries.Select(entry => new ShardReport(entry.Key, entry.Value.State, entry.Value.Failure?.Message, host.EpochOf(entry.Key)));

    /// <summary>Brings the shards into line with the orders: drops first, then loads, one after the other.</summary>
    public async Task ApplyAsync(SiloOrders orders, CancellationToken cancellationToken)
    {
        Dictionary<string, ShardOrder> ordered = orders.Shards.ToDictionary(order => order.Key, StringComparer.Ordinal);
        foreach ((string key, Entry entry) in _entries.Where(entry => !ordered.ContainsKey(entry.Key)).ToArray())
        {
            if (entry.State != ShardState.Failed || time.GetElapsedTime(entry.FailedAt) >= Remembered)
                await Drop(key, entry);
        }

        foreach (ShardOrder order in orders.Shards)
        {
            ModelDeclaration? declaration = orders.Declarations.FirstOrDefault(declaration => declaration.Description.Name == order.Model);
            bool isDue = !_entries.TryGetValue(order.Key, out Entry? entry) || (entry.State == ShardState.Failed && time.GetElapsedTime(entry.FailedAt) >= RetryAfter);
            if (declaration is not null && isDue)
                _entries[order.Key] = Start(order, declaration, cancellationToken);
        }

        foreach (ShardPart part in _ahead.Keys.ToArray())
        {
            _ahead.Remove(part, out Task<LoadedShard>? unwanted);
            await Dispose(unwanted!);
        }
    }

    /// <summary>Ends when a load ends, or at once when none is under way.</summary>
    public Task NextLoad => Task.WhenAny(_entries.Values.Where(entry => entry.State == ShardState.Loading).Select(entry => (Task)entry.Load).DefaultIfEmpty(Task.CompletedTask));

    /// <summary>Takes over what was loaded meanwhile.</summary>
    /// <returns>Whether there was anything.</returns>
    public bool Collect()
    {
        bool any = false;
        foreach ((string key, Entry entry) in _entries.Where(entry => entry.Value.State == ShardState.Loading && entry.Value.Load.IsCompleted))
        {
            any = true;
            if (entry.Load.IsCompletedSuccessfully)
            {
                host.Add(key, entry.Load.Result.Engine);
                entry.State = ShardState.Ready;
            }
            else
            {
                (entry.State, entry.Failure, entry.FailedAt) = (ShardState.Failed, entry.Load.Exception?.InnerException ?? new TaskCanceledException(entry.Load), time.GetTimestamp());
            }
        }

        if (any)
            Publish();
        return any;
    }

    /// <summary>Unloads everything.</summary>
    public async Task ClearAsync()
    {
        foreach ((string key, Entry entry) in _entries.ToArray())
            await Drop(key, entry);
        foreach (Task<LoadedShard> load in _ahead.Values)
            await Dispose(load);
        _ahead.Clear();
    }

    private Entry Start(ShardOrder order, ModelDeclaration declaration, CancellationToken cancellationToken)
    {
        ShardKey key = ShardKey.Parse(order.Key);
        var part = new ShardPart(order.Model, order.Layout, key.Rank, key.Device);
        return new Entry(part, _ahead.Remove(part, out Task<LoadedShard>? load) ? load : Enqueue(declaration, part, cancellationToken));
    }

    // One at a time: loads of one device exclude each other anyway, and memory is read as fast as it can be.
    private Task<LoadedShard> Enqueue(ModelDeclaration declaration, ShardPart part, CancellationToken cancellationToken)
    {
        Task before = _lastLoad;
        Task<LoadedShard> load = Task.Run(
            async () =>
            {
                await before.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                return await loader.LoadAsync(declaration, part, cancellationToken);
            },
            CancellationToken.None);
        _lastLoad = load;
        return load;
    }

    private async Task Drop(string key, Entry entry)
    {
        _entries.Remove(key);
        host.Remove(key);
        Publish();
        await Dispose(entry.Load);
    }

    private static async Task Dispose(Task<LoadedShard> load)
    {
        await ((Task)load).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (load.IsCompletedSuccessfully)
            await load.Result.Engine.DisposeAsync();
    }

    private void Publish() =>
        Loaded = [.. _entries.Where(entry => entry.Value.State == ShardState.Ready).OrderBy(entry => entry.Key, StringComparer.Ordinal).Select(entry => KeyValuePair.Create(entry.Key, entry.Value.Load.Result))];

    private sealed class Entry(ShardPart part, Task<LoadedShard> load)
    {
        public ShardPart Part { get; } = part;

        public Task<LoadedShard> Load { get; } = load;

        public ShardState State { get; set; } = ShardState.Loading;

        public Exception? Failure { get; set; }

        public long FailedAt { get; set; }
    }
}
