using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Shards;
using Cluster.Kernels.Execution;

namespace Cluster.Silo.Hosting;

/// <summary>Loads the shards of prepared models onto this silo's devices.</summary>
internal sealed class ModelLoader(
    ClusterOptions options, IReadOnlyList<PreparedModel> models, SiloIdentity identity, ModelCatalog catalog, ShardHost shards, DeviceThreads devices, TimeProvider time)
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
            KvType = model.KvType,
            MaxModelLength = model.Budget.MaxModelLength,
            MaxBatchedTokens = options.MaxNumBatchedTokens,
            // A step cannot hold more sequences than tokens.
            MaxSequences = Math.Min(options.MaxNumSeqs, options.MaxNumBatchedTokens),
            KvCacheBytes = model.Budget.Bytes,
            BlockSize = options.BlockSize,
        };
        var engine = new WatchedEngine(await ShardEngine.LoadAsync(spec, thread, cancellationToken), time);
        string device = model.Device.Device.ToString();
        var key = new ShardKey(identity.Name, device, model.Name, replica, Rank: 0);
        shards.Add(key.ToString(), engine);
        var shard = new ShardDescription(key.ToString(), identity.Name, device, key.Rank);
        return new LoadedModel(model.Served.Description, shard, engine, model.Budget, model.Served.ChatTemplate is not null);
    }

    private static DType? WeightType(string dtype) => dtype switch
    {
        "float32" => DType.Float32,
        "bfloat16" => DType.BFloat16,
        "float16" => DType.Float16,
        _ => null,
    };
}
