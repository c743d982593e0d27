using System.Diagnostics.Metrics;
using Cluster.TestKit;
using Microsoft.Extensions.DependencyInjection;

namespace Cluster.Grains.Tests.Replicas;

/// <summary>Counts the preemptions of a fixture's first silo, as the metrics see them.</summary>
internal sealed class PreemptionCounter : IDisposable
{
    private readonly MeterListener _listener = new();
    private long _count;

    public PreemptionCounter(ClusterFixture cluster)
    {
        _listener.SetMeasurementEventCallback<long>((_, count, _, _) => Interlocked.Add(ref _count, count));
        _listener.EnableMeasurementEvents(cluster.ServicesOf(0).GetRequiredService<ClusterMetrics>().Preemptions);
    }

    public long Count => Interlocked.Read(ref _count);

    public void Dispose() => _listener.Dispose();
}
