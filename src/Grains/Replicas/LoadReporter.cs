using Cluster.Contracts;
using Cluster.Grains.Topology;
using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Replicas;

/// <summary>
/// Tells the topology and this silo's gauges about a replica's load: every second while it has work, and when it stays idle (a draft
/// replica pauses between any two rounds).
/// </summary>
internal sealed partial class LoadReporter(
    string replicaKey,
    string model,
    IGrainFactory grains,
    ClusterMetrics metrics,
    TimeProvider time,
    ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);
    private readonly ITopologyControlGrain _topology = grains.GetGrain<ITopologyControlGrain>(0);
    private bool _isBusy;
    private bool _isReporting;
    private bool _isPausing;
    private bool _isForgotten;

    /// <summary>The replica has work.</summary>
    public void Start(Func<ReplicaLoad> load)
    {
        _isBusy = true;
        _isForgotten = false;
        if (_isReporting)
            return;
        _isReporting = true;
        ReportWhileBusyAsync(load).Ignore();
    }

    /// <summary>The replica is idle.</summary>
    public void Stop(Func<ReplicaLoad> load)
    {
        _isBusy = false;
        metrics.ReportLoad(replicaKey, model, load());
        if (_isPausing)
            return;
        _isPausing = true;
        ReportIdleAsync(load).Ignore();
    }

    /// <summary>The replica leaves this silo.</summary>
    public void Forget()
    {
        _isBusy = false;
        _isForgotten = true;
        metrics.ForgetReplica(replicaKey);
    }

    private async Task ReportWhileBusyAsync(Func<ReplicaLoad> load)
    {
        while (_isBusy)
        {
            await ReportAsync(load());
            await Task.Delay(Interval, time);
        }

        _isReporting = false;
    }

    private async Task ReportIdleAsync(Func<ReplicaLoad> load)
    {
        await Task.Delay(Pause, time);
        _isPausing = false;
        if (!_isBusy && !_isForgotten)
            await ReportAsync(load());
    }

    private async Task ReportAsync(ReplicaLoad load)
    {
        metrics.ReportLoad(replicaKey, model, load);
        try
        {
            await _topology.ReportLoad(replicaKey, load);
        }
        catch (Exception failure)
        {
            LogReportFailed(failure, replicaKey); // The next report says it again.
        }
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "Replica {Replica} could not report its load")]
    private partial void LogReportFailed(Exception failure, string replica);
}
