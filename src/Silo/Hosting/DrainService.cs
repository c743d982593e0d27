using Cluster.Grains;
using Cluster.Silo.Gateway;

namespace Cluster.Silo.Hosting;

/// <summary>
/// On SIGTERM or Ctrl+C, before anything stops: refuses new generations and lets the running ones end, up to
/// --shutdown-timeout. What is then still running is cut with an error event; its session is kept and can be resumed.
/// </summary>
internal sealed class DrainService(DrainGate gate, ShardKeeper keeper, ClusterOptions options, TimeProvider time) : IHostedLifecycleService
{
    // Enough for an error event and its pause; the sessions write their progress when the silo stops.
    private static readonly TimeSpan LongestAnnouncement = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan AfterCut = TimeSpan.FromSeconds(2);

    /// <inheritdoc/>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        Task idle = gate.Close();
        // In a cluster the shards move on while the connections of this silo end.
        if (options.Redis is not null)
            await ((Task)keeper.DrainAsync(cancellationToken)).WaitAsync(LongestAnnouncement, time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (await Ends(idle, TimeSpan.FromSeconds(options.ShutdownTimeout)))
            return;
        gate.Cut();
        await Ends(idle, AfterCut);
    }

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    private async Task<bool> Ends(Task idle, TimeSpan patience)
    {
        try
        {
            await idle.WaitAsync(patience, time);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }
}
