using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Grains.Shards;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>Reads the checkpoints of this silo and loads their shards onto its devices.</summary>
internal sealed class ModelLoader(ClusterOptions options, SiloIdentity identity, ModelCatalog catalog, ShardHost shards, DeviceThreads devices, TimeProvider time)
{
    /// <summary>Loads every model; the i-th goes to the i-th device, going round.</summary>
    /// <exception cref="StartFailedException">Names the model, its folder and what is wrong.</exception>
    public async Task<ImmutableArray<LoadedModel>> LoadAsync(CancellationToken cancellationToken)
    {
        IReadOnlyList<(string Name, string Folder)> models = Declared();
        IReadOnlyList<DeviceSetting> list = Devices();
        long freeBytes = FreeMemory.Bytes();
        var loaded = ImmutableArray.CreateBuilder<LoadedModel>();
        for (int i = 0; i < models.Count; i++)
        {
            (string name, string folder) = models[i];
            try
            {
                loaded.Add(await LoadAsync(name, folder, list[i % list.Count], freeBytes, models.Count, cancellationToken));
            }
            catch (Exception exception) when (exception is not OperationCanceledException)
            {
                throw exception is StartFailedException known && known.Message.StartsWith("--", StringComparison.Ordinal)
                    ? known
                    : new StartFailedException($"model '{name}' ({folder}): {exception.Message}", exception);
            }
        }
        return loaded.ToImmutable();
    }

    /// <summary>The devices with their threads: those without a number share the processors.</summary>
    internal IReadOnlyList<DeviceSetting> Devices()
    {
        if (!DeviceList.TryParse(options.Devices, out IReadOnlyList<DeviceSetting>? list, out string reason))
            throw new StartFailedException($"--devices: {reason}");
        int share = Math.Max(1, Environment.ProcessorCount / list.Count);
        return [.. list.Select(device => device.Threads == 0 && list.Count > 1 ? device with { Threads = share } : device)];
    }

    private List<(string Name, string Folder)> Declared()
    {
        IReadOnlyList<string> folders = options.Model.Count > 0 ? options.Model : [BundledModels.Find(AppContext.BaseDirectory)];
        var models = new List<(string Name, string Folder)>();
        for (int i = 0; i < folders.Count; i++)
        {
            string folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folders[i]));
            string name = i < options.ServedModelName.Count ? options.ServedModelName[i] : Path.GetFileName(folder);
            if (models.Any(model => model.Name == name))
                throw new StartFailedException($"--model: two models would be called '{name}'; name them with --served-model-name");
            models.Add((name, folder));
        }
        return models;
    }

    private async Task<LoadedModel> LoadAsync(
        string name, string folder, DeviceSetting device, long freeBytes, int shardCount, CancellationToken cancellationToken)
    {
        if (!Directory.Exists(folder))
            throw new StartFailedException("there is no such folder");
        ModelConfig config = ModelConfig.Load(folder);
        DType kvType = options.KvCacheDtype == "bfloat16" ? DType.BFloat16 : DType.Float32;
        KvBudget budget = KvBudget.For(options, config, kvType, freeBytes, shardCount);
        // Tokenizer and weights have nothing to do with each other: a start waits for the slower of the two.
        Task<ServedModel> served = Task.Run(
            () => ServedModelReader.Read(folder, name, options, time), cancellationToken);
        DeviceThread thread = await devices.Open(device);
        var spec = new ShardSpec
        {
            ModelFolder = folder,
            Device = device.Device,
            WeightType = WeightType(options.Dtype),
            KvType = kvType,
            MaxModelLength = budget.MaxModelLength,
            MaxBatchedTokens = options.MaxNumBatchedTokens,
            MaxSequences = Math.Min(options.MaxNumSeqs, options.MaxNumBatchedTokens),
            KvCacheBytes = budget.Bytes,
            BlockSize = options.BlockSize,
        };
        var engine = new WatchedEngine(await ShardEngine.LoadAsync(spec, thread, cancellationToken), time);
        ServedModel model = await served;
        model = model with { Description = model.Description with { MaxModelLength = budget.MaxModelLength } };
        var key = new ShardKey(identity.Name, device.Device.ToString(), name, Replica: 0, Rank: 0);
        shards.Add(key.ToString(), engine);
        catalog.Add(model);
        var shard = new ShardDescription(key.ToString(), identity.Name, device.Device.ToString(), key.Rank);
        return new LoadedModel(model.Description, shard, engine, budget, model.ChatTemplate is not null);
    }

    private static DType? WeightType(string dtype) => dtype switch
    {
        "float32" => DType.Float32,
        "bfloat16" => DType.BFloat16,
        "float16" => DType.Float16,
        _ => null,
    };
}
