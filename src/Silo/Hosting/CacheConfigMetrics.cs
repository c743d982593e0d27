using System.Text;
using Cluster.Grains;
using Cluster.Silo.Gateway.Metrics;

namespace Cluster.Silo.Hosting;

/// <summary>vLLM's information gauges: cache_config_info of every shard, and the LoRA gauge that schedulers look for.</summary>
internal sealed class CacheConfigMetrics(ModelHost models, ClusterOptions options) : IConstantMetrics
{
    /// <inheritdoc/>
    public void Write(StringBuilder text)
    {
        const string Name = "vllm:cache_config_info";
        MetricsPage.WriteHead(text, Name, "Configuration of the KV cache.", "gauge");
        foreach (LoadedModel model in models.Models)
        {
            MetricsPage.WriteLine(
                text,
                Name,
                [
                    new("model_name", model.Description.Name),
                    new("engine", "0"),
                    new("block_size", model.Engine.BlockSize),
                    new("num_gpu_blocks", model.Engine.BlockCount),
                    new("cache_dtype", options.KvCacheDtype),
                    new("enable_prefix_caching", options.EnablePrefixCaching),
                    new("kv_cache_memory_bytes", model.Budget.Bytes),
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
    }
}
