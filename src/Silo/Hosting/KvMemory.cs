using Cluster.Grains;

namespace Cluster.Silo.Hosting;

/// <summary>Memory for KV caches, measured once before anything is loaded, so that shards get the same whatever their order.</summary>
/// <param name="BytesPerShard">Free memory that falls to one shard when every device holds one and every declared model has one.</param>
internal sealed record KvMemory(long BytesPerShard)
{
    /// <summary>Measures what is free now.</summary>
    public static KvMemory Measure(ClusterOptions options) =>
        new(FreeMemory.Bytes() / Math.Max(1, Math.Max(Models(options), DeviceSettings.Of(options).Count)));

    private static int Models(ClusterOptions options)
    {
        List<(string Name, string Folder)> models = PreparedModel.Declared(options);
        DraftModel.AddTo(models, options);
        return models.Count;
    }
}
