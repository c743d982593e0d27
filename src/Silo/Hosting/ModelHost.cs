using Cluster.Grains;
using Cluster.Silo.Gateway;

namespace Cluster.Silo.Hosting;

/// <summary>
/// Loads this silo's shards while the silo and its HTTP listener start, opens the gateway, and then keeps to the topology's
/// orders. A model of the flags that cannot be loaded ends the process with one line.
/// </summary>
internal sealed class ModelHost(
    ShardKeeper keeper,
    ShardStock stock,
    SiloIdentity identity,
    SiloAddresses addresses,
    ServingGate serving,
    ModelCatalog catalog,
    IHostApplicationLifetime lifetime) : IHostedService, IAsyncDisposable
{
    private readonly CancellationTokenSource _stopping = new();
    private Task _work = Task.CompletedTask;

    /// <summary>Why the start failed, or null.</summary>
    public StartFailedException? Failure { get; private set; }

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
        await stock.ClearAsync();
        _stopping.Dispose();
    }

    private async Task RunAsync()
    {
        try
        {
            keeper.LoadAhead(_stopping.Token);
            await Started();
            await keeper.StartAsync(_stopping.Token);
            serving.Open();
            StartSummary.Print(Console.Out, identity, addresses.HttpUrl, [.. stock.Loaded.Select(shard => shard.Value)], catalog);
            await keeper.RunAsync(_stopping.Token);
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
}
