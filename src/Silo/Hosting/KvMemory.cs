using Cluster.Grains;

namespace Cluster.Silo.Hosting;

/// <summary>Memory for KV caches, measured once before anything is loaded, so that shards get the same whatever their order.</summary>
/// <param name="BytesPerShard">Free memory that falls to one shard when every device holds one and every declared model has one.</param>
internal sealed record KvMemory(long BytesPerShard)
{
    /// <summary>Measures what is free now.</summary>
    public static KvMemory Measure(ClusterOptions options) =>
        new(FreeMemory.Bytes() / Math.Max(1, Math.Max(PreparedModel.Declared(options).Count, DeviceSettings.Of(options).Count)));
}
