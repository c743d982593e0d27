using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Shards;
using Cluster.Kernels.Execution;

namespace Cluster.Silo.Hosting;

/// <summary>Loads the shards of prepared models onto this silo's devices.</summary>
internal sealed partial class ModelLoader(
    ClusterOptions options, IReadOnlyList<PreparedModel> models, SiloIdentity identity, ModelCatalog catalog, ShardHost shards, DeviceThreads devices, TimeProvider time, ILogger<ModelLoader> logger)
{
    /// <summary>Loads every model.</summary>
    /// <exception cref="StartFailedException">Names the model, its folder and what is wrong.</exception>
    public async Task<ImmutableArray<LoadedModel>> LoadAsync(CancellationToken cancellationToken)
    {
        foreach (PreparedModel model in models.DistinctBy(model => model.Name))
            catalog.Add(model.Served);
        var loaded = ImmutableArray.CreateBuilder<LoadedModel>();
        foreach (PreparedModel model in models)
        {
            try
            {
                loaded.Add(await LoadAsync(model, loaded.Count(other => other.Description.Name == model.Name), cancellationToken));
            }
            catch (Exception exception) when (exception is not OperationCanceledException)
            {
                throw model.Failed(exception);
            }
        }
        return loaded.ToImmutable();
    }

    private async Task<LoadedModel> LoadAsync(PreparedModel model, int replica, CancellationToken cancellationToken)
    {
        DeviceThread thread = await devices.Open(model.Device);
        var spec = new ShardSpec
        {
            ModelFolder = model.Folder,
            Device = model.Device.Device,
            WeightType = WeightType(options.Dtype),
            Quantization = QuantizationOf(options.Quantization),
            KvType = model.KvType,
            MaxModelLength = model.Budget.MaxModelLength,
            MaxBatchedTokens = options.MaxNumBatchedTokens,
            // A step cannot hold more sequences than tokens.
            MaxSequences = Math.Min(options.MaxNumSeqs, options.MaxNumBatchedTokens),
            KvCacheBytes = model.Budget.Bytes,
            BlockSize = options.BlockSize,
        };
        ShardEngine shardEngine = await ShardEngine.LoadAsync(spec, thread, cancellationToken);
        if (replica == 0 && shardEngine.KeptWeights is { Count: > 0 } kept)
            LogKept(model.Name, options.Quantization, kept.Count, kept[0]);
        var engine = new WatchedEngine(shardEngine, time);
        string device = model.Device.Device.ToString();
        var key = new ShardKey(identity.Name, device, model.Name, replica, Rank: 0);
        shards.Add(key.ToString(), engine);
        var shard = new ShardDescription(key.ToString(), identity.Name, device, key.Rank);
        return new LoadedModel(model.Served.Description, shard, engine, model.Budget, model.Served.ChatTemplate is not null);
    }

    private static WeightQuantization QuantizationOf(string quantization) => quantization switch
    {
        "int8" => WeightQuantization.Int8,
        "int4" => WeightQuantization.Int4,
        _ => WeightQuantization.None,
    };

    [LoggerMessage(Level = LogLevel.Warning, Message = "Model {Model}: {Count} weights keep the checkpoint's type under --quantization {Quantization}, their rows are no multiple of 32 (the first is {First})")]
    private partial void LogKept(string model, string quantization, int count, string first);

    private static DType? WeightType(string dtype) => dtype switch
    {
        "float32" => DType.Float32,
        "bfloat16" => DType.BFloat16,
        "float16" => DType.Float16,
        _ => null,
    };
}
