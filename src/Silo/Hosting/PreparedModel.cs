using System.Collections.Immutable;
using Cluster.Grains;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;
using Cluster.Silo.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>
/// A model as far as its files tell without loading weights: read before anything starts, so that a checkpoint that cannot
/// be served ends the start at once.
/// </summary>
/// <param name="Name">Served name.</param>
/// <param name="Folder">Checkpoint folder or GGUF file.</param>
/// <param name="Device">Device that will hold it.</param>
/// <param name="KvType">Stored type of keys and values.</param>
/// <param name="Budget">Size of its KV cache.</param>
/// <param name="Served">Tokenizer, template, limits.</param>
internal sealed record PreparedModel(string Name, string Folder, DeviceSetting Device, DType KvType, KvBudget Budget, ServedModel Served)
{
    /// <summary>
    /// Reads every declared model. Every model gets a device and every device a model, both going round: with more devices
    /// than models, a model appears once per device, which makes it several replicas.
    /// </summary>
    /// <exception cref="StartFailedException">Names the model, its folder and what is wrong.</exception>
    public static ImmutableArray<PreparedModel> ReadAll(ClusterOptions options, TimeProvider time)
    {
        List<(string Name, string Folder)> declared = Declared(options);
        IReadOnlyList<DeviceSetting> devices = DevicesOf(options);
        long freeBytes = FreeMemory.Bytes();
        int shards = Math.Max(declared.Count, devices.Count);
        PreparedModel[] models = [.. declared.Select((model, i) => Read(model.Name, model.Folder, devices[i % devices.Count], freeBytes / shards, options, time))];
        return [.. Enumerable.Range(0, shards).Select(i => models[i % models.Length] with { Device = devices[i % devices.Count] })];
    }

    /// <summary>The devices with their threads: those without a number share the processors.</summary>
    public static IReadOnlyList<DeviceSetting> DevicesOf(ClusterOptions options)
    {
        if (!DeviceList.TryParse(options.Devices, out IReadOnlyList<DeviceSetting>? list, out string reason))
            throw new StartFailedException($"--devices: {reason}");
        int share = Math.Max(1, Environment.ProcessorCount / list.Count);
        DeviceSetting[] devices = [.. list.Select(device => device.Threads == 0 && list.Count > 1 ? device with { Threads = share } : device)];
        foreach (DeviceSetting device in devices)
            DeviceThreads.FactoryFor(device.Device);
        return devices;
    }

    /// <summary>What a failure of this model looks like to the user.</summary>
    public StartFailedException Failed(Exception exception) => Failed(Name, Folder, exception);

    private static PreparedModel Read(string name, string folder, DeviceSetting device, long freeBytes, ClusterOptions options, TimeProvider time)
    {
        try
        {
            if (!Directory.Exists(folder) && !File.Exists(folder))
                throw new StartFailedException("there is no such folder or GGUF file");
            if (options.Quantization != ClusterOptions.NoQuantization && Checkpoint.ReadIndex(folder) is { IsQuantized: true } index)
                throw new StartFailedException($"--quantization: must be none, its weights are quantised already ({index.Types}), got {options.Quantization}");
            DType kvType = options.KvCacheDtype switch { "bfloat16" => DType.BFloat16, "int8" => DType.Int8, _ => DType.Float32 };
            KvBudget budget = KvBudget.For(options, ModelConfig.Load(folder), kvType, freeBytes);
            ServedModel served = ServedModelReader.Read(folder, name, options, time);
            served = served with { Description = served.Description with { MaxModelLength = budget.MaxModelLength } };
            return new PreparedModel(name, folder, device, kvType, budget, served);
        }
        catch (Exception exception)
        {
            throw Failed(name, folder, exception);
        }
    }

    private static StartFailedException Failed(string name, string folder, Exception exception) =>
        exception is StartFailedException known && known.Message.StartsWith("--", StringComparison.Ordinal)
            ? known
            : new StartFailedException($"model '{name}' ({folder}): {exception.Message}", exception);

    private static List<(string Name, string Folder)> Declared(ClusterOptions options)
    {
        IReadOnlyList<string> folders = options.Model.Count > 0 ? options.Model : [BundledModels.Find(AppContext.BaseDirectory)];
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
}
