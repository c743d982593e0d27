using System.Text;
using Cluster.Grains;
using Cluster.Grains.Shards;
using Cluster.Silo.Gateway.Metrics;

namespace Cluster.Silo.Hosting;

/// <summary>vLLM's information gauges: cache_config_info of every shard, and the LoRA gauge that schedulers look for.</summary>
internal sealed class CacheConfigMetrics(ShardStock stock, ClusterOptions options) : IConstantMetrics
{
    private static readonly string[] SleepStates = ["awake", "weights_offloaded", "discard_all"];

    /// <inheritdoc/>
    public void Write(StringBuilder text)
    {
        const string Name = "vllm:cache_config_info";
        MetricsPage.WriteHead(text, Name, "Configuration of the KV cache.", "gauge");
        foreach ((string key, LoadedShard shard) in stock.Loaded)
        {
            MetricsPage.WriteLine(
                text,
                Name,
                [
                    new("model_name", shard.Description.Name),
                    new("engine", ShardKey.Parse(key).Replica),
                    new("block_size", shard.Engine.BlockSize),
                    new("num_gpu_blocks", shard.Engine.BlockCount),
                    new("cache_dtype", options.KvCacheDtype),
                    new("enable_prefix_caching", options.EnablePrefixCaching),
                    new("kv_cache_memory_bytes", shard.Budget.Bytes),
                ],
                null,
                1);
        }
        MetricsPage.WriteInfo(
            text,
            "vllm:lora_requests_info",
            "LoRA adapters are not served.",
            [new("max_lora", 0), new("waiting_lora_adapters", ""), new("running_lora_adapters", "")],
            0);
        WriteSleepState(text);
    }

    private void WriteSleepState(StringBuilder text)
    {
        const string Name = "vllm:engine_sleep_state";
        MetricsPage.WriteHead(text, Name, "Engines never sleep: awake is 1.", "gauge");
        foreach ((string key, LoadedShard shard) in stock.Loaded)
        {
            foreach (string state in SleepStates)
            {
                MetricsPage.WriteLine(
                    text,
                    Name,
                    [new("model_name", shard.Description.Name), new("engine", ShardKey.Parse(key).Replica), new("sleep_state", state)],
                    null,
                    state == "awake" ? 1 : 0);
            }
        }
    }
}
