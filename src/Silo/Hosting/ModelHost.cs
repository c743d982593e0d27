using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Shards;
using Cluster.Grains.Topology;
using Cluster.Silo.Gateway;

namespace Cluster.Silo.Hosting;

/// <summary>
/// Loads this silo's models while the silo and its HTTP listener start, announces them to the topology, and opens the
/// gateway. A model that cannot be loaded ends the process with one line.
/// </summary>
internal sealed class ModelHost(
    ModelLoader loader,
    ShardHost shards,
    ClusterOptions options,
    SiloIdentity identity,
    SiloAddresses addresses,
    IGrainFactory grains,
    ServingGate serving,
    RetryPolicy retry,
    IHostApplicationLifetime lifetime) : IHostedService, IAsyncDisposable
{
    private readonly CancellationTokenSource _stopping = new();
    private Task _work = Task.CompletedTask;

    /// <summary>Why the start failed, or null.</summary>
    public StartFailedException? Failure { get; private set; }

    /// <summary>What is loaded.</summary>
    public ImmutableArray<LoadedModel> Models { get; private set; } = [];

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        _work = Task.Run(RunAsync, CancellationToken.None);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        await _work.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (LoadedModel model in Models)
            await model.Engine.DisposeAsync();
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        try
        {
            Models = await loader.LoadAsync(_stopping.Token);
            await Started();
            await Join();
            serving.Open();
            StartSummary.Print(Console.Out, identity, addresses.HttpUrl, Models);
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The silo stops.
        }
        catch (Exception exception)
        {
            Exception cause = exception.GetBaseException();
            string message = cause == exception ? exception.Message : $"{exception.Message} {cause.Message}";
            Failure = exception as StartFailedException ?? new StartFailedException(message, exception);
            // A silo that is stopped in the middle of its start dies noisily.
            await Started().ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            lifetime.StopApplication();
        }
    }

    private async Task Started()
    {
        var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using CancellationTokenRegistration registration = lifetime.ApplicationStarted.Register(started.SetResult);
        await started.Task.WaitAsync(_stopping.Token);
    }

    /// <summary>Announces the shards under numbers that no other silo has.</summary>
    private async Task Join()
    {
        var topology = grains.GetGrain<ITopologyControlGrain>(0);
        while (true)
        {
            ClusterTopology known = await retry.Call(topology.Get, _stopping.Token);
            ImmutableArray<LoadedModel> chosen = ReplicaNumbering.Choose(known, identity.Name, Models);
            bool stands = chosen.SequenceEqual(Models);
            bool isAnnounced = known.Silos.Any(silo => silo.Name == identity.Name && silo.HttpUrl == addresses.HttpUrl);
            if (stands && isAnnounced)
                return;
            Renumber(chosen);
            await retry.Call(token => Announce(topology), _stopping.Token);
        }
    }

    private void Renumber(ImmutableArray<LoadedModel> chosen)
    {
        foreach ((LoadedModel before, LoadedModel after) in Models.Zip(chosen))
        {
            if (before.Shard.Key == after.Shard.Key)
                continue;
            shards.Remove(before.Shard.Key);
            shards.Add(after.Shard.Key, after.Engine); // The device is part of the key: no two of them are ever equal.
        }
        Models = chosen;
    }

    private async Task<bool> Announce(ITopologyControlGrain topology)
    {
        var silo = new SiloDescription(identity.Name, [.. PreparedModel.DevicesOf(options).Select(device => device.Device.ToString())], addresses.HttpUrl);
        await topology.Join(new SiloRegistration(silo, [.. Models.Select(model => model.Description).DistinctBy(model => model.Name)], [.. Models.Select(model => model.Shard)]));
        return true;
    }
}
