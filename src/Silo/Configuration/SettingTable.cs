namespace Cluster.Silo.Configuration;

/// <summary>All settings of the silo, in the order of <c>--help</c>. Flags, environment and appsettings.json read this one table.</summary>
internal static class SettingTable
{
    private const long MaxTokens = 1 << 24;

    private static readonly SettingGroup Model = new("Models");
    private static readonly SettingGroup Http = new("HTTP");
    private static readonly SettingGroup Engine = new("Engine");
    private static readonly SettingGroup Silo = new("Silo and cluster");

    /// <summary>The settings.</summary>
    public static IReadOnlyList<Setting> All { get; } = [.. Models(), .. Gateway(), .. Engines(), .. Silos()];

    private static Setting[] Models() =>
    [
        Model.List("model", "PATH", "Checkpoint folder in Hugging Face's layout, or a GGUF file (repeatable).", "the bundled demonstration model", o => o.Model),
        Model.List("served-model-name", "NAME", "Name in the API; the i-th belongs to the i-th --model (repeatable).", "the folder's or file's name", o => o.ServedModelName),
        Model.Choice("dtype", ["auto", "float32", "bfloat16", "float16"], "Stored weight type; auto keeps the checkpoint's.", o => o.Dtype, (o, v) => o.Dtype = v),
        Model.Choice("quantization", ["none", "int8", "int4"], "Quantise linear weights at load; int4 keeps the LM head in int8.", o => o.Quantization, (o, v) => o.Quantization = v),
        Model.Integer("max-model-len", "Longest sequence in tokens.", "the model's, at most what the KV cache holds", 1, MaxTokens, o => o.MaxModelLen, (o, v) => o.MaxModelLen = (int)v),
        Model.Integer("tensor-parallel-size", "Devices over which each layer of a replica is cut, in the whole cluster.", "1", 1, 1024, o => o.TensorParallelSize, (o, v) => o.TensorParallelSize = (int)v),
        Model.Integer("pipeline-parallel-size", "Stages over which the layers of a replica are cut, in the whole cluster.", "1", 1, 1024, o => o.PipelineParallelSize, (o, v) => o.PipelineParallelSize = (int)v),
        Model.IntegerOrAuto("data-parallel-size", "Replicas in the whole cluster; auto fills all devices, 0 loads the model when it is asked for.", 0, 4096, o => o.DataParallelSize, (o, v) => o.DataParallelSize = (int?)v),
        Model.Json("speculative-config", "Guess tokens ahead, for example {\"method\": \"ngram\", \"num_speculative_tokens\": 5}; never changes what is generated.", "off", SpeculativeConfigJson.Check, o => o.SpeculativeConfig, (o, v) => o.SpeculativeConfig = v),
        Model.Choice("generation-config", ["auto", "vllm"], "Sampling defaults: the model's generation_config.json, or neutral.", o => o.GenerationConfig, (o, v) => o.GenerationConfig = v),
        Model.Integer("seed", "Base for the seeds of requests without one.", "drawn", long.MinValue, long.MaxValue, o => o.Seed, (o, v) => o.Seed = v),
    ];

    private static Setting[] Gateway() =>
    [
        Http.Text("host", "ADDRESS", "Address to listen on.", "127.0.0.1", (o, v) => o.Host = v),
        Http.Integer("port", "HTTP port; 0 takes a free one.", "8000", 0, 65535, o => o.Port, (o, v) => o.Port = (int)v),
        Http.List("api-key", "KEY", "Key that may use the API (repeatable).", "open", o => o.ApiKey),
        Http.Bytes("max-request-body-bytes", "Largest request body.", "32MiB", 1 << 10, 1L << 31, o => o.MaxRequestBodyBytes, (o, v) => o.MaxRequestBodyBytes = v),
        Http.Integer("sse-ping-interval", "Seconds between the comments of a stream that waits for its first token; 0 = none.", "15", 0, 3600, o => o.SsePingInterval, (o, v) => o.SsePingInterval = (int)v),
        Http.Integer("shutdown-timeout", "Seconds running streams have to end when the silo stops.", "30", 0, 3600, o => o.ShutdownTimeout, (o, v) => o.ShutdownTimeout = (int)v),
    ];

    private static Setting[] Engines() =>
    [
        Engine.Text("devices", "LIST", "auto, or a list: cpu:0,cpu:1/2 (device 1 with 2 threads).", "auto", (o, v) => o.Devices = v),
        Engine.Integer("max-num-seqs", "Most sequences per step.", "128", 1, 1 << 16, o => o.MaxNumSeqs, (o, v) => o.MaxNumSeqs = (int)v),
        Engine.Integer("max-num-batched-tokens", "Token budget of a step.", "512", 1, 1 << 20, o => o.MaxNumBatchedTokens, (o, v) => o.MaxNumBatchedTokens = (int)v),
        Engine.Bytes("kv-cache-memory-bytes", "KV cache per shard.", "a quarter of free memory, at most 2GiB and what --max-num-seqs sequences need", 1 << 10, 1L << 50, o => o.KvCacheMemoryBytes, (o, v) => o.KvCacheMemoryBytes = v),
        Engine.Choice("kv-cache-dtype", ["auto", "float32", "bfloat16", "int8"], "Stored type of keys and values; auto is float32, int8 has a factor per token and head.", o => o.KvCacheDtype, (o, v) => o.KvCacheDtype = v),
        Engine.Integer("block-size", "Tokens per KV block.", "16", 1, 1024, o => o.BlockSize, (o, v) => o.BlockSize = (int)v),
        Engine.Switch("enable-prefix-caching", "Share committed KV blocks between equal prompt beginnings.", o => o.EnablePrefixCaching, (o, v) => o.EnablePrefixCaching = v),
        Engine.Integer("max-queued-requests", "Sequences that may wait per replica; more get 503.", "1024", 1, 1 << 20, o => o.MaxQueuedRequests, (o, v) => o.MaxQueuedRequests = (int)v),
        Engine.Integer("model-wait", "Seconds a request waits for a replica to become ready.", "60", 0, 86400, o => o.ModelWait, (o, v) => o.ModelWait = (int)v),
        Engine.Integer("idle-timeout", "Seconds without work after which a model scaled to 0 replicas is unloaded again.", "300", 1, 31 * 86400, o => o.IdleTimeout, (o, v) => o.IdleTimeout = (int)v),
        Engine.Integer("session-retention", "Seconds a session is kept after its end or its last reader.", "600", 1, 31 * 86400, o => o.SessionRetention, (o, v) => o.SessionRetention = (int)v),
    ];

    private static Setting[] Silos() =>
    [
        Silo.Text("data-dir", "DIR", "Embedded store, remembered ports, caches.", "application-data folder of the platform", (o, v) => o.DataDir = v),
        Silo.Text("redis", "CONNECTION", "Join the cluster kept in this Redis.", "one silo with the embedded store", (o, v) => o.Redis = v),
        Silo.Text("cluster-id", "ID", "Which cluster.", "cluster", (o, v) => o.ClusterId = v),
        Silo.Text("silo-name", "NAME", "Which silo.", "the pod's name, else host name and HTTP port", (o, v) => o.SiloName = v),
        Silo.Integer("silo-port", "Orleans port between silos.", "a free one, remembered", 1, 65535, o => o.SiloPort, (o, v) => o.SiloPort = (int)v),
        Silo.Integer("gateway-port", "Orleans port for clients.", "a free one, remembered", 1, 65535, o => o.GatewayPort, (o, v) => o.GatewayPort = (int)v),
        Silo.Integer("mesh-port", "Port for the direct connections between shards.", "a free one", 1, 65535, o => o.MeshPort, (o, v) => o.MeshPort = (int)v),
    ];
}
