using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>Which part of which model a device should hold.</summary>
internal sealed record ShardPart(string Model, ModelLayout Layout, int Rank, string Device);

/// <summary>A shard that is loaded on a device of this silo.</summary>
internal sealed record LoadedShard(ShardPart Part, ModelDescription Description, WatchedEngine Engine, KvBudget Budget);

/// <summary>Loads shards onto this silo's devices.</summary>
internal sealed partial class ShardLoader(ClusterOptions options, KvMemory memory, DeviceThreads devices, TimeProvider time, ILogger<ShardLoader> logger)
{
    /// <summary>Loads one shard.</summary>
    /// <exception cref="StartFailedException">Names the model, its folder and what is wrong.</exception>
    public async Task<LoadedShard> LoadAsync(ModelDeclaration declaration, ShardPart part, CancellationToken cancellationToken)
    {
        try
        {
            return await Load(declaration, part, options.For(declaration), cancellationToken);
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            throw PreparedModel.Failed(part.Model, declaration.Description.Path, exception);
        }
    }

    private async Task<LoadedShard> Load(ModelDeclaration declaration, ShardPart part, ClusterOptions settings, CancellationToken cancellationToken)
    {
        DeviceSetting device = DeviceSettings.Of(settings).Cast<DeviceSetting?>().FirstOrDefault(device => device?.Device.ToString() == part.Device)
            ?? throw new StartFailedException($"there is no device {part.Device} in this silo");
        string path = declaration.Description.Path;
        if (!Directory.Exists(path) && !File.Exists(path))
            throw new StartFailedException("there is no such folder or GGUF file");
        DType kvType = PreparedModel.KvTypeOf(settings);
        KvBudget budget = KvBudget.For(settings, ModelConfig.Load(path), kvType, part.Layout, memory.BytesPerShard);
        DeviceThread thread = await devices.Open(device);
        int stages = part.Layout.PipelineParallelSize, ranks = part.Layout.TensorParallelSize;
        var spec = new ShardSpec
        {
            ModelFolder = path,
            Device = device.Device,
            WeightType = WeightType(settings.Dtype),
            Quantization = QuantizationOf(settings.Quantization),
            KvType = kvType,
            MaxModelLength = budget.MaxModelLength,
            MaxBatchedTokens = settings.MaxNumBatchedTokens,
            // A step cannot hold more sequences than tokens.
            MaxSequences = Math.Min(settings.MaxNumSeqs, settings.MaxNumBatchedTokens),
            KvCacheBytes = budget.Bytes,
            BlockSize = settings.BlockSize,
            TensorParallel = (part.Rank % ranks, ranks),
            Pipeline = (part.Rank / ranks, stages),
        };
        ShardEngine engine = await ShardEngine.LoadAsync(spec, thread, cancellationToken);
        if (engine.KeptWeights is { Count: > 0 } kept)
            LogKept(part.Model, settings.Quantization, kept.Count, kept[0]);
        return new LoadedShard(part, declaration.Description, new WatchedEngine(engine, time), budget);
    }

    private static WeightQuantization QuantizationOf(string quantization) => quantization switch
    {
        "int8" => WeightQuantization.Int8,
        "int4" => WeightQuantization.Int4,
        _ => WeightQuantization.None,
    };

    private static DType? WeightType(string dtype) => dtype switch
    {
        "float32" => DType.Float32,
        "bfloat16" => DType.BFloat16,
        "float16" => DType.Float16,
        _ => null,
    };

    [LoggerMessage(Level = LogLevel.Warning, Message = "Model {Model}: {Count} weights keep the checkpoint's type under --quantization {Quantization}, their rows are no multiple of 32 (the first is {First})")]
    private partial void LogKept(string model, string quantization, int count, string first);
}
