using Cluster.Client;
using Cluster.Contracts;

namespace Cluster.Cli;

/// <summary>Waits until the cluster has become what a command asked for.</summary>
internal static class TopologyWait
{
    private static readonly TimeSpan Period = TimeSpan.FromMilliseconds(250);

    /// <summary>Asks again until <paramref name="reached"/> holds.</summary>
    /// <exception cref="TimeoutException">It did not within <paramref name="patience"/>.</exception>
    public static async Task ForAsync(InferenceClient client, CliHost host, TimeSpan patience, Predicate<ClusterTopology> reached, CancellationToken cancellationToken)
    {
        long start = host.Time.GetTimestamp();
        while (!reached(await client.GetTopologyAsync(cancellationToken)))
        {
            if (host.Time.GetElapsedTime(start) > patience)
                throw new TimeoutException($"The cluster was told, but is not there yet after {patience.TotalSeconds:0} s; 'cluster ps' shows how far it is.");
            await Task.Delay(Period, host.Time, cancellationToken);
        }
    }
}
