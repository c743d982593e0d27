using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Cluster.Grains.Sessions;

/// <summary>
/// Lets the session index tend its sessions, from every silo: at once when the silo becomes active (background sessions
/// go on) and then every few seconds (retention, and background sessions of silos that died).
/// </summary>
internal sealed partial class SessionSweeper(IGrainFactory grains, IOptions<ClusterOptions> options, TimeProvider time, ILogger<SessionSweeper> logger)
    : ILifecycleParticipant<ISiloLifecycle>
{
    private static readonly TimeSpan LongestInterval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan ShortestInterval = TimeSpan.FromMilliseconds(250);

    private readonly CancellationTokenSource _stopping = new();
    private Task _loop = Task.CompletedTask;

    public void Participate(ISiloLifecycle lifecycle) =>
        lifecycle.Subscribe(nameof(SessionSweeper), ServiceLifecycleStage.Active + 1, StartAsync, StopAsync);

    private Task StartAsync(CancellationToken cancellationToken)
    {
        _loop = SweepLoopAsync();
        return Task.CompletedTask;
    }

    private async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stopping.CancelAsync();
        await _loop;
    }

    private async Task SweepLoopAsync()
    {
        TimeSpan wanted = TimeSpan.FromSeconds(options.Value.SessionRetention) / 4;
        TimeSpan interval = wanted > LongestInterval ? LongestInterval : wanted < ShortestInterval ? ShortestInterval : wanted;
        try
        {
            await Task.Yield();
            while (true)
            {
                await Task.WhenAll(Enumerable.Range(0, ISessionIndexGrain.Buckets).Select(SweepAsync)).WaitAsync(_stopping.Token);
                await Task.Delay(interval, time, _stopping.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // The silo stops.
        }
    }

    private async Task SweepAsync(int bucket)
    {
        try
        {
            await grains.GetGrain<ISessionIndexGrain>(bucket).Sweep();
        }
        catch (Exception e)
        {
            LogSweepFailed(bucket, e.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Bucket {Bucket} of the session index was not swept: {Reason}")]
    private partial void LogSweepFailed(int bucket, string reason);
}
