using System.Collections.Immutable;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>
/// A model that the flags declare, as far as its files tell without loading weights: read before anything starts, so that a
/// checkpoint that cannot be served ends the start at once.
/// </summary>
/// <param name="Declaration">What the topology is told.</param>
/// <param name="Served">Tokenizer, template, limits.</param>
internal sealed record PreparedModel(ModelDeclaration Declaration, ServedModel Served)
{
    /// <summary>Reads every declared model.</summary>
    /// <exception cref="StartFailedException">Names the model, its folder and what is wrong.</exception>
    public static ImmutableArray<PreparedModel> ReadAll(ClusterOptions options, KvMemory memory, TimeProvider time)
    {
        DeviceSettings.Of(options);
        List<(string Name, string Folder)> models = Declared(options);
        int given = models.Count;
        string? draft = DraftModel.AddTo(models, options);
        PreparedModel[] prepared = [.. models.Select((model, i) => Read(model.Name, model.Folder, memory, i < given ? options : options.ForDraft(), time))];
        PreparedModel? drafting = prepared.FirstOrDefault(model => model.Declaration.Description.Name == draft);
        return [.. prepared.Select(model => DraftModel.Join(model, drafting, options))];
    }

    /// <summary>Names and paths of the models that <c>--model</c> declares; the bundled model when nothing else would be served.</summary>
    public static List<(string Name, string Folder)> Declared(ClusterOptions options)
    {
        IReadOnlyList<string> folders = options.Model.Count > 0 || options.Redis is not null ? options.Model : [BundledModels.Find(AppContext.BaseDirectory)];
        var models = new List<(string Name, string Folder)>();
        for (int i = 0; i < folders.Count; i++)
        {
            string folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folders[i]));
            string name = i < options.ServedModelName.Count ? options.ServedModelName[i]
                : File.Exists(folder) ? Path.GetFileNameWithoutExtension(folder) : Path.GetFileName(folder);
            if (models.Any(model => model.Name == name))
                throw new StartFailedException($"--model: two models would be called '{name}'; name them with --served-model-name");
            models.Add((name, folder));
        }
        return models;
    }

    /// <summary>Stored type of keys and values.</summary>
    public static DType KvTypeOf(ClusterOptions options) => options.KvCacheDtype switch { "bfloat16" => DType.BFloat16, "int8" => DType.Int8, _ => DType.Float32 };

    /// <summary>What a failure of a model looks like to the user.</summary>
    public static StartFailedException Failed(string name, string folder, Exception exception) =>
        exception is StartFailedException known && known.Message.StartsWith("--", StringComparison.Ordinal)
            ? known
            : new StartFailedException($"model '{name}' ({folder}): {exception.Message}", exception);

    private static PreparedModel Read(string name, string folder, KvMemory memory, ClusterOptions options, TimeProvider time)
    {
        try
        {
            if (!Directory.Exists(folder) && !File.Exists(folder))
                throw new StartFailedException("there is no such folder or GGUF file");
            if (options.Quantization != ClusterOptions.NoQuantization && Checkpoint.ReadIndex(folder) is { IsQuantized: true } index)
                throw new StartFailedException($"--quantization {options.Quantization}: the weights of model '{name}' ({folder}) are quantised already ({index.Types}) and are served as they are; leave the flag out, or give a checkpoint of float weights (BF16, F16 or F32)");
            ModelConfig config = ModelConfig.Load(folder);
            var layout = new ModelLayout(options.TensorParallelSize, options.PipelineParallelSize);
            if (layout.TensorParallelSize > config.QueryHeads)
                throw new StartFailedException($"--tensor-parallel-size: must be at most {config.QueryHeads}, the query heads of '{name}', got {layout.TensorParallelSize}");
            if (layout.PipelineParallelSize > config.Layers.Count)
                throw new StartFailedException($"--pipeline-parallel-size: must be at most {config.Layers.Count}, the layers of '{name}', got {layout.PipelineParallelSize}");
            KvBudget budget = KvBudget.For(options, config, KvTypeOf(options), layout, memory.BytesPerShard);
            ServedModel served = ServedModelReader.Read(folder, name, options, time);
            served = served with { Description = served.Description with { MaxModelLength = budget.MaxModelLength } };
            return new PreparedModel(Declare(served.Description, layout, options), served);
        }
        catch (Exception exception)
        {
            throw Failed(name, folder, exception);
        }
    }

    private static ModelDeclaration Declare(ModelDescription description, ModelLayout layout, ClusterOptions options) => new()
    {
        Description = description,
        Layout = layout,
        Replicas = options.DataParallelSize,
        Dtype = options.Dtype,
        Quantization = options.Quantization,
        KvCacheDtype = options.KvCacheDtype,
    };
}
