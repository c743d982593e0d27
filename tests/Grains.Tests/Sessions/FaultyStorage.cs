using System.Collections.Concurrent;
using System.Globalization;
using Cluster.Grains.Sessions;
using Microsoft.Extensions.DependencyInjection;
using Orleans;
using Orleans.Runtime;
using Orleans.Serialization;
using Orleans.Storage;

namespace Cluster.Grains.Tests.Sessions;

/// <summary>Grain storage in memory with the faults of a real one: failing, frozen, and writes that time out but are applied.</summary>
internal sealed class FaultyStorage : IGrainStorage
{
    private static readonly Serializer Serializer =
        new ServiceCollection().AddSerializer().BuildServiceProvider().GetRequiredService<Serializer>();

    private readonly ConcurrentDictionary<(string Name, GrainId Grain), (byte[] Value, string ETag)> _rows = new();
    private readonly Lock _lock = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _version;

    /// <summary>Called before each operation with operation and row name: tests wait or throw here.</summary>
    public Func<string, string, Task>? Before { get; set; }

    /// <summary>Called after a write was applied: a throw is a write that timed out but was applied.</summary>
    public Action<string>? AfterWrite { get; set; }

    /// <summary>Writes applied, by row name.</summary>
    public ConcurrentDictionary<string, int> Writes { get; } = new(StringComparer.Ordinal);

    /// <summary>Rows of a name whose grain key is <paramref name="key"/>.</summary>
    public bool Has(string name, string key) => _rows.Keys.Any(row => row.Name == name && row.Grain.Key.ToString() == key);

    /// <summary>Completes when a condition on the rows holds.</summary>
    public async Task WaitAsync(Func<FaultyStorage, bool> condition)
    {
        while (true)
        {
            Task changed = Volatile.Read(ref _changed).Task;
            if (condition(this))
                return;
            await changed.WaitAsync(TimeSpan.FromSeconds(30));
        }
    }

    /// <summary>Overwrites every row of a name with bytes that no session wrote.</summary>
    public void Damage(string name)
    {
        foreach ((string Name, GrainId Grain) key in _rows.Keys.Where(key => key.Name == name))
            _rows[key] = (Serializer.SerializeToArray(new JournalRow { Payload = [0xFF, 0xFF, 0xFF, 1, 2, 3] }), _rows[key].ETag);
    }

    public async Task ReadStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        await BeforeAsync("read", stateName);
        bool exists = _rows.TryGetValue((stateName, grainId), out (byte[] Value, string ETag) row);
        grainState.RecordExists = exists;
        grainState.ETag = exists ? row.ETag : null;
        grainState.State = exists ? Serializer.Deserialize<T>(row.Value) : Activator.CreateInstance<T>();
    }

    public async Task WriteStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        await BeforeAsync("write", stateName);
        lock (_lock)
        {
            Check(stateName, grainId, grainState.ETag);
            string etag = (++_version).ToString(CultureInfo.InvariantCulture);
            _rows[(stateName, grainId)] = (Serializer.SerializeToArray(grainState.State), etag);
            Writes.AddOrUpdate(stateName, 1, (_, count) => count + 1);
            Changed();
            AfterWrite?.Invoke(stateName);
            (grainState.ETag, grainState.RecordExists) = (etag, true);
        }
    }

    public async Task ClearStateAsync<T>(string stateName, GrainId grainId, IGrainState<T> grainState)
    {
        await BeforeAsync("clear", stateName);
        lock (_lock)
        {
            Check(stateName, grainId, grainState.ETag);
            _rows.TryRemove((stateName, grainId), out _);
            Changed();
            (grainState.ETag, grainState.RecordExists) = (null, false);
        }
    }

    private Task BeforeAsync(string operation, string name) => Before?.Invoke(operation, name) ?? Task.CompletedTask;

    private void Check(string name, GrainId grain, string? etag)
    {
        string? stored = _rows.TryGetValue((name, grain), out (byte[] Value, string ETag) row) ? row.ETag : null;
        if (stored != etag)
            throw new InconsistentStateException($"Row {name} of {grain} has etag {stored}, not {etag}.");
    }

    private void Changed() => Interlocked.Exchange(ref _changed, new(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
}
