using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace Cluster.TestKit.Processes;

/// <summary>Real silo processes around a real redis-server, all on loopback. Silos are killed, frozen, added and stopped by tests.</summary>
public sealed class SiloCluster : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(90);

    private readonly string _program;
    private readonly string[] _flags;
    private readonly List<SiloProcess> _silos = [];
    private int _started;

    private SiloCluster(string program, string[] flags)
    {
        _program = program;
        _flags = flags;
    }

    /// <summary>The store of membership, sessions and topology.</summary>
    public RedisServer Redis { get; } = new();

    /// <summary>The silos that run, oldest first.</summary>
    public IReadOnlyList<SiloProcess> Silos
    {
        get
        {
            lock (_silos)
                return [.. _silos];
        }
    }

    /// <summary>Starts Redis and silos, and waits until all of them are ready.</summary>
    /// <param name="program">Path of the built Cluster.Silo.dll.</param>
    /// <param name="silos">How many.</param>
    /// <param name="declaring">Flags of the first silo only: the models.</param>
    /// <param name="flags">Flags of every silo.</param>
    public static async Task<SiloCluster> StartAsync(string program, int silos, string[] declaring, params string[] flags)
    {
        var cluster = new SiloCluster(program, flags);
        try
        {
            await cluster.Redis.StartAsync();
            await cluster.AddAsync(declaring);
            await Task.WhenAll(Enumerable.Range(1, silos - 1).Select(_ => cluster.AddAsync()));
            return cluster;
        }
        catch
        {
            cluster.Dispose();
            throw;
        }
    }

    /// <summary>Starts one more silo, under a name of its own, and waits until it is ready.</summary>
    public async Task<SiloProcess> AddAsync(params string[] declaring)
    {
        var silo = new SiloProcess(_program, ["--redis", Redis.Connection, "--silo-name", $"silo-{Interlocked.Increment(ref _started)}", .. _flags, .. declaring]);
        await silo.StartAsync();
        Remember(silo);
        return silo;
    }

    /// <summary>kill -9. It does not come back.</summary>
    public void Kill(SiloProcess silo)
    {
        Forget(silo);
        silo.Dispose();
    }

    /// <summary>Takes a silo out of <see cref="Silos"/>: a test goes on without it, and disposes it.</summary>
    public void Forget(SiloProcess silo)
    {
        lock (_silos)
            _silos.Remove(silo);
    }

    /// <summary>Puts it back.</summary>
    public void Remember(SiloProcess silo)
    {
        lock (_silos)
            _silos.Add(silo);
    }

    /// <summary>Name of a silo.</summary>
    public static string NameOf(SiloProcess silo) => silo.Arguments[Array.IndexOf([.. silo.Arguments], "--silo-name") + 1];

    /// <summary>Changes a model's scale.</summary>
    public async Task ScaleAsync(string model, JsonObject scale)
    {
        using HttpResponseMessage response = await Silos[^1].Http.PutAsJsonAsync($"/admin/models/{model}", scale);
        if (response.StatusCode != HttpStatusCode.OK)
            throw new InvalidOperationException(await response.Content.ReadAsStringAsync());
    }

    /// <summary>Empties a silo.</summary>
    public async Task DrainAsync(SiloProcess silo)
    {
        using HttpResponseMessage response = await Silos[0].Http.PostAsync($"/admin/silos/{NameOf(silo)}/drain", null);
        if (response.StatusCode != HttpStatusCode.OK)
            throw new InvalidOperationException(await response.Content.ReadAsStringAsync());
    }

    /// <summary>The topology, as any silo tells it.</summary>
    public async Task<JsonNode> TopologyAsync()
    {
        (HttpStatusCode status, string text) = await Silos[^1].GetAsync("/admin/topology");
        return status == HttpStatusCode.OK ? JsonNode.Parse(text)! : throw new InvalidOperationException(text);
    }

    /// <summary>Waits until exactly <paramref name="replicas"/> replicas of a model are ready and each has <paramref name="shards"/> shards.</summary>
    public Task WaitForReplicasAsync(string model, int replicas, int shards = 1) => WaitAsync(
        topology =>
        {
            JsonNode[] all = [.. topology["replicas"]!.AsArray().Where(replica => (string)replica!["model"]! == model)!];
            return all.Length == replicas && all.All(replica => (bool)replica["load"]!["ready"]! && replica["shards"]!.AsArray().Count == shards);
        },
        $"{replicas} replicas of {model} with {shards} shards");

    /// <summary>Waits until the topology is as wanted.</summary>
    public async Task WaitAsync(Func<JsonNode, bool> reached, string what)
    {
        using var limit = new CancellationTokenSource(Patience);
        JsonNode? last = null;
        while (true)
        {
            try
            {
                last = await TopologyAsync();
                if (reached(last))
                    return;
            }
            catch (Exception exception) when (exception is HttpRequestException or InvalidOperationException)
            {
                // The silo that was asked is going down.
            }

            if (limit.IsCancellationRequested)
                throw new TimeoutException($"There were not {what} within {Patience.TotalSeconds} s. Topology: {last?.ToJsonString()}\n{Outputs()}");
            await Task.Delay(50, CancellationToken.None);
        }
    }

    /// <summary>What all silos wrote.</summary>
    public string Outputs() => string.Join("\n", _silos.Select(silo => $"--- {NameOf(silo)}\n{silo.Process.Output}"));

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (SiloProcess silo in _silos)
            silo.Dispose();
        Redis.Dispose();
    }
}
