using Cluster.Contracts;

namespace Cluster.Grains;

/// <summary>
/// All settings of a silo, bound from flags, environment and appsettings.json (section <c>Cluster</c>); checked once at
/// start. Flags are the kebab-case spelling of the member, with vLLM's name where vLLM has one.
/// </summary>
internal sealed class ClusterOptions
{
    /// <summary>Value of <see cref="Quantization"/> that leaves weights as they are.</summary>
    public const string NoQuantization = "none";

    /// <summary>Checkpoint folders or GGUF files (<c>--model</c>, repeatable). Empty: the bundled demonstration model.</summary>
    public List<string> Model { get; set; } = [];

    /// <summary>Served names; the i-th belongs to the i-th model. Default: the name of the folder or of the file without its extension.</summary>
    public List<string> ServedModelName { get; set; } = [];

    /// <summary>Address to listen on. Default 127.0.0.1.</summary>
    public string Host { get; set; } = "127.0.0.1";

    /// <summary>HTTP port. Default 8000, vLLM's.</summary>
    public int Port { get; set; } = 8000;

    /// <summary>Stored weight type: auto, float32, bfloat16, float16.</summary>
    public string Dtype { get; set; } = "auto";

    /// <summary>How linear weights are quantised at load: none, int8, int4.</summary>
    public string Quantization { get; set; } = NoQuantization;

    /// <summary>Stored KV type: auto (float32), bfloat16.</summary>
    public string KvCacheDtype { get; set; } = "auto";

    /// <summary>Tensor ranks of a replica of the models given by flags. Default 1.</summary>
    public int TensorParallelSize { get; set; } = 1;

    /// <summary>Pipeline stages of a replica of the models given by flags. Default 1.</summary>
    public int PipelineParallelSize { get; set; } = 1;

    /// <summary>Replicas of the models given by flags; null = as many as there are devices for.</summary>
    public int? DataParallelSize { get; set; }

    /// <summary>Longest sequence; null = the model's, at most what the KV cache holds.</summary>
    public int? MaxModelLen { get; set; }

    /// <summary>Most sequences per step. Default 128.</summary>
    public int MaxNumSeqs { get; set; } = 128;

    /// <summary>Token budget of a step. Default 512.</summary>
    public int MaxNumBatchedTokens { get; set; } = 512;

    /// <summary>Bytes of KV cache per shard; null = a quarter of free memory, at most what max-num-seqs sequences need.</summary>
    public long? KvCacheMemoryBytes { get; set; }

    /// <summary>Tokens per KV block. Default 16, vLLM's usual value.</summary>
    public int BlockSize { get; set; } = 16;

    /// <summary>Whether committed blocks are shared by equal prompt beginnings. Default true.</summary>
    public bool EnablePrefixCaching { get; set; } = true;

    /// <summary>How the models given by flags guess tokens ahead, JSON; null = they do not.</summary>
    public string? SpeculativeConfig { get; set; }

    /// <summary>Base for drawn request seeds; null = drawn from the operating system.</summary>
    public long? Seed { get; set; }

    /// <summary>Keys that may use the API (<c>--api-key</c>, repeatable); empty = open.</summary>
    public List<string> ApiKey { get; set; } = [];

    /// <summary>Sampling defaults: auto (the model's generation_config.json) or vllm (neutral).</summary>
    public string GenerationConfig { get; set; } = "auto";

    /// <summary>Devices: auto, or a list such as cpu:0,cpu:1/2 (device 1 with 2 threads).</summary>
    public string Devices { get; set; } = "auto";

    /// <summary>Embedded store, remembered ports, caches. Default: the platform's application-data folder.</summary>
    public string? DataDir { get; set; }

    /// <summary>Redis connection of the cluster to join; null = one silo with the embedded store.</summary>
    public string? Redis { get; set; }

    /// <summary>Which cluster. Default <c>cluster</c>.</summary>
    public string ClusterId { get; set; } = "cluster";

    /// <summary>Which silo. Default: host name and HTTP port.</summary>
    public string? SiloName { get; set; }

    /// <summary>Orleans silo port; null = a free one, remembered per silo name.</summary>
    public int? SiloPort { get; set; }

    /// <summary>Orleans gateway port; null = a free one, remembered per silo name.</summary>
    public int? GatewayPort { get; set; }

    /// <summary>Port for the direct connections between shards; null = a free one.</summary>
    public int? MeshPort { get; set; }

    /// <summary>Seconds that a replica stays which woke for a model scaled to zero and has nothing to do. Default 300.</summary>
    public int IdleTimeout { get; set; } = 300;

    /// <summary>Sequences that may wait per replica; more are refused with 503. Default 1024.</summary>
    public int MaxQueuedRequests { get; set; } = 1024;

    /// <summary>Seconds a request waits for a replica to become ready. Default 60.</summary>
    public int ModelWait { get; set; } = 60;

    /// <summary>Seconds a session is kept after its end or its last reader. Default 600.</summary>
    public int SessionRetention { get; set; } = 600;

    /// <summary>Seconds open connections have to end when the silo stops. Default 30.</summary>
    public int ShutdownTimeout { get; set; } = 30;

    /// <summary>Seconds between the comments of a stream that waits for its first token; 0 = none. Default 15, sse-starlette's.</summary>
    public int SsePingInterval { get; set; } = 15;

    /// <summary>Largest request body in bytes. Default 32 MiB.</summary>
    public long MaxRequestBodyBytes { get; set; } = 32L << 20;

    /// <summary>These settings for a draft model that only <see cref="SpeculativeConfig"/> names: one shard, one replica, its own length.</summary>
    public ClusterOptions ForDraft()
    {
        var options = (ClusterOptions)MemberwiseClone();
        (options.TensorParallelSize, options.PipelineParallelSize, options.DataParallelSize, options.MaxModelLen) = (1, 1, 1, null);
        return options;
    }

    /// <summary>These settings with those of a declaration, which may come from another silo's flags.</summary>
    public ClusterOptions For(ModelDeclaration declaration)
    {
        var options = (ClusterOptions)MemberwiseClone();
        options.Dtype = declaration.Dtype;
        options.Quantization = declaration.Quantization;
        options.KvCacheDtype = declaration.KvCacheDtype;
        options.MaxModelLen = declaration.Description.MaxModelLength;
        return options;
    }
}
