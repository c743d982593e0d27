using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// Loads the weights of one decoder by name, with the exact shape that the configuration demands and the role that
/// fixes the summation order. One loader loads one model; a failed load disposes what was loaded.
/// </summary>
internal sealed class WeightLoader(IDeviceOps ops, SafetensorsReader reader, DType? weightType)
{
    /// <summary>A norm weight or another vector.</summary>
    public VectorWeight Vector(string name, int length) => ops.LoadVector(Floating(reader.Vector(name, length)));

    /// <summary>The embedding table.</summary>
    public EmbeddingTable Embedding(string name, int vocabulary, int hidden) => ops.LoadEmbedding(Floating(reader.Matrix(name, vocabulary, hidden)));

    /// <summary>A linear layer of one or several stacked modules (<c>NAME.weight</c>, <c>NAME.bias</c>).</summary>
    public LinearWeight Linear(LinearRole role, bool hasBias, int inFeatures, params ReadOnlySpan<(string Module, int OutFeatures)> modules)
    {
        var parts = new List<HostTensor>(modules.Length);
        var biases = new List<HostTensor>(modules.Length);
        foreach ((string module, int outFeatures) in modules)
        {
            parts.Add(Floating(reader.Matrix($"{module}.weight", outFeatures, inFeatures)));
            if (hasBias)
                biases.Add(Floating(reader.Vector($"{module}.bias", outFeatures)));
        }
        return ops.LoadLinear(new LinearSource(parts, biases, role, StoredType(parts)));
    }

    /// <summary>The routed experts of a layer, expert e under <c>PREFIX.e</c>.</summary>
    public ExpertWeights Experts(string prefix, ExpertFamily names, ExpertSettings settings, int hidden)
    {
        HostTensor[] Load(string name, int rows, int columns) =>
            [.. Enumerable.Range(0, settings.Count).Select(expert => Floating(reader.Matrix($"{prefix}.{expert}.{name}.weight", rows, columns)))];
        HostTensor[] gate = Load(names.Gate, settings.IntermediateSize, hidden);
        HostTensor[] up = Load(names.Up, settings.IntermediateSize, hidden);
        HostTensor[] down = Load(names.Down, hidden, settings.IntermediateSize);
        return ops.LoadExperts(new ExpertSource(gate, up, down, StoredType([.. gate, .. up, .. down])));
    }

    private static HostTensor Floating(HostTensor tensor) => tensor.Type != DType.Int32
        ? tensor
        : throw new CheckpointFormatException("model.safetensors", $"tensor {tensor.Name}: dtype", "F32, BF16 or F16", "I32");

    // Half precision has more mantissa than bfloat16: such weights are never narrowed to it.
    private DType? StoredType(IReadOnlyList<HostTensor> parts) =>
        weightType == DType.BFloat16 && parts.Any(part => part.Type == DType.Float16) ? null : weightType;
}
