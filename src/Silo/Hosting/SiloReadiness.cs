using Cluster.Silo.Gateway;
using Cluster.Silo.Gateway.Endpoints;

namespace Cluster.Silo.Hosting;

/// <summary>Ready: the silo is active, its shards are loaded and, where there is work, steps end.</summary>
internal sealed class SiloReadiness(ServingGate serving, DrainGate drain, ISiloStatusOracle status, ShardStock stock) : IReadiness
{
    // The longest step of a large prompt on a slow CPU takes seconds; a stuck device takes for ever.
    private static readonly TimeSpan LongestStep = TimeSpan.FromSeconds(60);

    /// <inheritdoc/>
    public string? WhyNot()
    {
        if (drain.IsClosed)
            return "the silo is shutting down";
        if (status.CurrentStatus != SiloStatus.Active)
            return $"the silo is {status.CurrentStatus}";
        if (!serving.IsOpen)
            return "models are loading";
        foreach ((string key, LoadedShard shard) in stock.Loaded)
        {
            if (shard.Engine.Stalled is var stalled && stalled > LongestStep)
                return $"shard {key} has not finished a step for {stalled.TotalSeconds:0} s (limit {LongestStep.TotalSeconds:0} s)";
        }
        return null;
    }
}
