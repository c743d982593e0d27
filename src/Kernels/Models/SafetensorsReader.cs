using System.Text.Json;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// The tensors of a checkpoint folder, memory-mapped: <c>model.safetensors</c>, or the shards that
/// <c>model.safetensors.index.json</c> names. Tensors are views of the mapping: valid until <see cref="Dispose"/>.
/// </summary>
public sealed class SafetensorsReader : IWeightSource
{
    private const string SingleFile = "model.safetensors";
    private const string IndexFile = "model.safetensors.index.json";
    private const int MaxIndexBytes = 100_000_000;

    private readonly List<SafetensorsFile> _files = [];
    private readonly Dictionary<string, (SafetensorsFile File, TensorEntry Entry)> _tensors = new(StringComparer.Ordinal);

    private SafetensorsReader()
    {
    }

    /// <summary>Names of all tensors.</summary>
    public IReadOnlyCollection<string> Names => _tensors.Keys;

    /// <summary>Opens a checkpoint folder.</summary>
    /// <exception cref="CheckpointFormatException">A file is missing or breaks a rule.</exception>
    public static SafetensorsReader Open(string folder)
    {
        string single = Path.Combine(folder, SingleFile), index = Path.Combine(folder, IndexFile);
        if (File.Exists(single))
            return OpenFile(single);
        if (!File.Exists(index))
            throw new CheckpointFormatException(folder, "weights", $"{SingleFile} or {IndexFile}", "neither");
        return Build(reader => reader.AddShards(folder, JsonFile.Read(index, MaxIndexBytes, ReadIndex)));
    }

    /// <summary>Opens one file.</summary>
    /// <exception cref="CheckpointFormatException">The file is missing or breaks a rule.</exception>
    public static SafetensorsReader OpenFile(string path) => Build(reader =>
    {
        SafetensorsFile file = reader.Map(path);
        foreach (TensorEntry entry in file.Entries)
            reader._tensors.Add(entry.Name, (file, entry));
    });

    /// <summary>Whether the checkpoint has a tensor of this name.</summary>
    public bool Contains(string name) => _tensors.ContainsKey(name);

    /// <summary>Sizes of a tensor, outermost first.</summary>
    public IReadOnlyList<long> Shape(string name) => Find(name).Entry.Shape;

    /// <summary>Element type of a tensor as the file spells it, such as <c>BF16</c>.</summary>
    public string TypeName(string name) => Find(name).Entry.DType;

    /// <summary>Up to <paramref name="bytes"/> bytes from the middle of a tensor: enough to tell it from other weights of its shape.</summary>
    /// <exception cref="CheckpointFormatException">It is missing.</exception>
    public unsafe ReadOnlySpan<byte> Sample(string name, int bytes)
    {
        (SafetensorsFile file, TensorEntry entry) = Find(name);
        long length = entry.End - entry.Begin;
        int count = (int)Math.Min(bytes, length);
        return new ReadOnlySpan<byte>((byte*)file.Address(entry) + ((length - count) / 2), count);
    }

    /// <summary>A matrix of exactly [rows, columns].</summary>
    /// <exception cref="CheckpointFormatException">It is missing or of another shape or of a type that is not served.</exception>
    public HostTensor Matrix(string name, int rows, int columns) => View(name, rows, columns, [rows, columns]);

    /// <summary>A vector of exactly [length].</summary>
    /// <exception cref="CheckpointFormatException">It is missing or of another shape or of a type that is not served.</exception>
    public HostTensor Vector(string name, int length) => View(name, 1, length, [length]);

    int IWeightSource.BlockElements => 1;

    IReadOnlyList<HostTensor> IWeightSource.Rows(string name, int rows, int columns) => [Matrix(name, rows, columns)];

    string IWeightSource.FileOf(string name) => Find(name).File.Name;

    string IWeightSource.Identity(string name) => $"{Find(name).File.Identity}#{name}";

    void IWeightSource.Release(string name)
    {
        (SafetensorsFile file, TensorEntry entry) = Find(name);
        MappedPages.Drop(file.Address(entry), entry.End - entry.Begin);
    }

    /// <summary>Any tensor of one or two dimensions, in its own shape.</summary>
    /// <exception cref="CheckpointFormatException">It is missing or of a type that is not served.</exception>
    public HostTensor Tensor(string name) => Shape(name) switch
    {
        [long length and <= int.MaxValue] => Vector(name, (int)length),
        [long rows and <= int.MaxValue, long columns and <= int.MaxValue] => Matrix(name, (int)rows, (int)columns),
        var shape => throw new CheckpointFormatException(Find(name).File.Name, $"tensor {name}: shape", "one or two dimensions", Show(shape)),
    };

    /// <inheritdoc/>
    public void Dispose() => _files.ForEach(file => file.Dispose());

    private static SafetensorsReader Build(Action<SafetensorsReader> fill)
    {
        var reader = new SafetensorsReader();
        try
        {
            fill(reader);
            return reader;
        }
        catch
        {
            reader.Dispose();
            throw;
        }
    }

    private static Dictionary<string, string> ReadIndex(JsonElement root)
    {
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("weight_map", out JsonElement map) || map.ValueKind != JsonValueKind.Object)
            throw new CheckpointFormatException(IndexFile, "weight_map", "a JSON object", "missing or another type");
        var index = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (JsonProperty entry in map.EnumerateObject())
            index.Add(entry.Name, CheckShardName(entry));
        return index;
    }

    // A shard lies beside its index: a name with a folder in it could lead anywhere.
    private static string CheckShardName(JsonProperty entry)
    {
        string? name = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString() : null;
        bool plain = name is { Length: > 0 and <= 255 } && name.EndsWith(".safetensors", StringComparison.Ordinal)
            && name.AsSpan().IndexOfAny("/\\:\0") < 0 && !name.StartsWith('.');
        return plain ? name! : throw new CheckpointFormatException(IndexFile, $"weight_map: {entry.Name}",
            "the plain name of a .safetensors file in the same folder", entry.Value.ToString());
    }

    private void AddShards(string folder, Dictionary<string, string> index)
    {
        foreach (IGrouping<string, string> shard in index.GroupBy(pair => pair.Value, pair => pair.Key))
        {
            string path = Path.Combine(folder, shard.Key);
            if (!File.Exists(path))
                throw new CheckpointFormatException(IndexFile, $"weight_map: {shard.First()}", "a file of the folder", $"{shard.Key}, which is missing");
            SafetensorsFile file = Map(path);
            Dictionary<string, TensorEntry> entries = file.Entries.ToDictionary(entry => entry.Name, StringComparer.Ordinal);
            foreach (string name in shard)
                _tensors.Add(name, (file, entries.GetValueOrDefault(name)
                    ?? throw new CheckpointFormatException(file.Name, $"tensor {name}", $"there, as {IndexFile} says", "missing")));
        }
    }

    private SafetensorsFile Map(string path)
    {
        SafetensorsFile file = SafetensorsFile.Open(path);
        _files.Add(file);
        return file;
    }

    private (SafetensorsFile File, TensorEntry Entry) Find(string name) => _tensors.TryGetValue(name, out var found)
        ? found
        : throw new CheckpointFormatException(_files.Count == 1 ? _files[0].Name : IndexFile, $"tensor {name}", "there", "missing");

    private HostTensor View(string name, int rows, int columns, long[] shape)
    {
        (SafetensorsFile file, TensorEntry entry) = Find(name);
        if (!entry.Shape.SequenceEqual(shape))
            throw new CheckpointFormatException(file.Name, $"tensor {name}: shape", Show(shape), Show(entry.Shape));
        DType type = entry.DType switch
        {
            "F32" => DType.Float32,
            "BF16" => DType.BFloat16,
            "F16" => DType.Float16,
            "I32" => DType.Int32,
            _ => throw new CheckpointFormatException(file.Name, $"tensor {name}: dtype", "F32, BF16, F16 or I32", entry.DType),
        };
        return new HostTensor(file.Address(entry), type, rows, columns, columns, name) { File = file.Mapping };
    }

    private static string Show(IReadOnlyList<long> shape) => $"[{string.Join(", ", shape)}]";
}
