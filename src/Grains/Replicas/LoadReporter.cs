using Cluster.Contracts;
using Cluster.Grains.Topology;
using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Replicas;

/// <summary>Tells the topology and this silo's gauges about a replica's load: every second while it has work, and when it becomes idle.</summary>
internal sealed partial class LoadReporter(
    string replicaKey,
    string model,
    IGrainFactory grains,
    ClusterMetrics metrics,
    TimeProvider time,
    ILogger logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private readonly ITopologyControlGrain _topology = grains.GetGrain<ITopologyControlGrain>(0);
    private bool _isBusy;
    private bool _isReporting;

    /// <summary>The replica has work.</summary>
    public void Start(Func<ReplicaLoad> load)
    {
        _isBusy = true;
        if (_isReporting)
            return;
        _isReporting = true;
        ReportWhileBusyAsync(load).Ignore();
    }

    /// <summary>The replica is idle.</summary>
    public void Stop(ReplicaLoad load)
    {
        _isBusy = false;
        ReportAsync(load).Ignore();
    }

    /// <summary>The replica leaves this silo.</summary>
    public void Forget()
    {
        _isBusy = false;
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
