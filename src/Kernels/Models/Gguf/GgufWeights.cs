using System.Globalization;
using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models.Gguf;

/// <summary>
/// The tensors of a GGUF file under Hugging Face's names. For the architecture <c>llama</c> the file has the rows of every query and
/// key head in the order that ggml rotates (neighbours 2i and 2i + 1 form a pair); here they come as every other row, which is
/// Hugging Face's order (i and i + half).
/// </summary>
internal sealed class GgufWeights(GgufFile file, ModelConfig config) : IWeightSource
{
    private readonly bool _isInterleaved = file.Fields.Text("general.architecture") == "llama";
    private readonly List<float[]> _vectors = [];

    public int BlockElements => file.Tensors.Values.Max(tensor => tensor.Type.BlockElements());

    public string FileOf(string name) => file.Name;

    public string Identity(string name) => $"{file.Identity}#{name}";

    public void Release(string name)
    {
        (GgufTensor tensor, int expert) = Find(name);
        if (expert < 0)
            MappedPages.Drop(file.Address(tensor), tensor.Bytes);
        else
            MappedPages.Drop(file.Address(tensor) + (nint)(expert * (tensor.Bytes / tensor.Shape[0])), tensor.Bytes / tensor.Shape[0]);
    }

    public HostTensor Matrix(string name, int rows, int columns)
    {
        (GgufTensor tensor, int expert) = Find(name);
        IEnumerable<long> expected = expert < 0 ? [rows, columns] : [config.Experts!.Count, rows, columns];
        // A matrix of one row may stand there as a vector.
        if (!Trim(tensor.Shape).SequenceEqual(Trim(expected)))
            throw Wrong(tensor, "shape", Show(expected), Show(tensor.Shape));
        nint start = file.Address(tensor) + (nint)(Math.Max(0, expert) * rows * tensor.Type.BytesOf(columns));
        return new HostTensor(start, tensor.Type, rows, columns, columns, name) { File = file.Mapping };
    }

    public IReadOnlyList<HostTensor> Rows(string name, int rows, int columns)
    {
        HostTensor whole = Matrix(name, rows, columns);
        int heads = InterleavedHeads(name);
        if (heads == 0)
            return [whole];
        int half = rows / heads / 2;
        var parts = new HostTensor[2 * heads];
        for (int i = 0; i < parts.Length; i++)
            parts[i] = whole with { Pointer = whole.RowAddress((i / 2 * 2 * half) + (i % 2)), Rows = half, RowStride = 2L * columns };
        return parts;
    }

    public unsafe HostTensor Vector(string name, int length)
    {
        (GgufTensor tensor, _) = Find(name);
        if (!tensor.Shape.SequenceEqual([length]))
            throw Wrong(tensor, "shape", Show([length]), Show(tensor.Shape));
        var stored = new HostTensor(file.Address(tensor), tensor.Type, 1, length, length, name);
        int heads = InterleavedHeads(name);
        if (heads == 0)
            return stored;
        var values = new float[length];
        stored.ReadRow(0, values);
        float[] ordered = GC.AllocateUninitializedArray<float>(length, pinned: true);
        int half = length / heads / 2;
        for (int i = 0; i < length; i++)
            ordered[i] = values[(i / (2 * half) * 2 * half) + (i % half * 2) + (i % (2 * half) / half)];
        _vectors.Add(ordered);
        fixed (float* start = ordered)
            return new HostTensor((nint)start, DType.Float32, 1, length, length, name);
    }

    /// <inheritdoc/>
    public void Dispose() => file.Dispose();

    private int InterleavedHeads(string name)
    {
        if (!_isInterleaved)
            return 0;
        return name.Contains(".self_attn.q_proj.", StringComparison.Ordinal) ? config.QueryHeads
            : name.Contains(".self_attn.k_proj.", StringComparison.Ordinal) ? config.KvHeads : 0;
    }

    private (GgufTensor Tensor, int Expert) Find(string name)
    {
        GgufPlace place = GgufPlace.Of(name);
        if (file.Tensors.TryGetValue(place.Name, out GgufTensor? tensor))
            return (tensor, place.Expert);
        return place.Single is { } single && file.Tensors.TryGetValue(single, out tensor)
            ? (tensor, -1)
            : throw new CheckpointFormatException(file.Name, $"tensor {place.Name}", "there", "missing");
    }

    private CheckpointFormatException Wrong(GgufTensor tensor, string part, string limit, string actual) =>
        new(file.Name, $"tensor {tensor.Name}: {part}", limit, actual);

    private static IEnumerable<long> Trim(IEnumerable<long> shape) => shape.SkipWhile(size => size == 1);

    private static string Show(IEnumerable<long> shape) => $"[{string.Join(", ", shape.Select(size => size.ToString(CultureInfo.InvariantCulture)))}]";
}
