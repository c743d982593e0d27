using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// Loads the weights of one decoder by name, with the exact shape that the configuration demands and the role that
/// fixes the summation order. One loader loads one model; a failed load disposes what was loaded.
/// </summary>
internal sealed class WeightLoader(IDeviceOps ops, IWeightSource source, DType? weightType, WeightQuantization quantization)
{
    private readonly List<string> _kept = [];
    private string? _embedding;

    /// <summary>Tensors that quantisation was asked for but whose rows are no whole groups: they keep the checkpoint's type.</summary>
    public IReadOnlyList<string> Kept => _kept;

    /// <summary>A norm weight or another vector.</summary>
    public VectorWeight Vector(string name, int length) => ops.LoadVector(Floating(name, source.Vector(name, length)));

    /// <summary>The embedding table.</summary>
    public EmbeddingTable Embedding(string name, int vocabulary, int hidden)
    {
        _embedding = name;
        return ops.LoadEmbedding(Floating(name, source.Matrix(name, vocabulary, hidden)));
    }

    /// <summary>A linear layer of one or several stacked modules (<c>NAME.weight</c>, <c>NAME.bias</c>).</summary>
    public LinearWeight Linear(LinearRole role, bool hasBias, int inFeatures, params ReadOnlySpan<(string Module, int OutFeatures)> modules) =>
        Linear(role, hasBias, inFeatures, QuantizedType(isHead: false), modules);

    /// <summary>A router or a gate: small, and decides for all that follows, so it is never quantised here.</summary>
    public LinearWeight Gate(int inFeatures, string module, int outFeatures) =>
        Linear(LinearRole.ColumnParallel, false, inFeatures, null, (module, outFeatures));

    /// <summary>The LM head: 4 bits would cost more than they save.</summary>
    public LinearWeight Head(int inFeatures, string module, int outFeatures) =>
        Linear(LinearRole.ColumnParallel, false, inFeatures, QuantizedType(isHead: true), (module, outFeatures));

    /// <summary>The routed experts of a layer, expert e under <c>PREFIX.e</c>.</summary>
    public ExpertWeights Experts(string prefix, ExpertFamily names, ExpertSettings settings, int hidden)
    {
        string[] Names(string part) => [.. Enumerable.Range(0, settings.Count).Select(expert => $"{prefix}.{expert}.{part}.weight")];
        HostTensor[] Load(string[] tensors, int rows, int columns) => [.. tensors.Select(name => Floating(name, source.Matrix(name, rows, columns)))];
        (string[] gateNames, string[] upNames, string[] downNames) = (Names(names.Gate), Names(names.Up), Names(names.Down));
        HostTensor[] gate = Load(gateNames, settings.IntermediateSize, hidden);
        HostTensor[] up = Load(upNames, settings.IntermediateSize, hidden);
        HostTensor[] down = Load(downNames, hidden, settings.IntermediateSize);
        DType? type = StoredType([.. gate, .. up, .. down], QuantizedType(isHead: false));
        string[] all = [.. gateNames, .. upNames, .. downNames];
        ExpertWeights weights = ops.LoadExperts(new ExpertSource(gate, up, down, type, Identity(all)));
        Release(all);
        return weights;
    }

    private LinearWeight Linear(LinearRole role, bool hasBias, int inFeatures, DType? quantized, params ReadOnlySpan<(string Module, int OutFeatures)> modules)
    {
        var parts = new List<HostTensor>(modules.Length);
        var biases = new List<HostTensor>(modules.Length);
        var names = new List<string>(modules.Length);
        foreach ((string module, int outFeatures) in modules)
        {
            string name = $"{module}.weight";
            IReadOnlyList<HostTensor> rows = source.Rows(name, outFeatures, inFeatures);
            HostTensor? bias = hasBias ? Floating($"{module}.bias", source.Vector($"{module}.bias", outFeatures)) : null;
            int start = 0;
            foreach (HostTensor part in rows)
            {
                parts.Add(Floating(name, part));
                if (bias is { } whole)
                    biases.Add(whole.ColumnRange(start, part.Rows));
                start += part.Rows;
            }
            names.Add(name);
        }
        LinearWeight weight = ops.LoadLinear(new LinearSource(parts, biases, role, StoredType(parts, quantized), Identity(names)));
        Release(names);
        return weight;
    }

    private DType? QuantizedType(bool isHead) => quantization switch
    {
        WeightQuantization.Int8 => DType.Q8_0,
        WeightQuantization.Int4 => isHead ? DType.Q8_0 : DType.Q4_0,
        _ => null,
    };

    private DType? StoredType(IReadOnlyList<HostTensor> parts, DType? quantized)
    {
        if (quantized is not null && parts.All(part => BlockQuantizer.Fits(part.Columns)))
            return quantized;
        if (quantized is not null)
            _kept.Add(parts.First(part => !BlockQuantizer.Fits(part.Columns)).Name);
        // Half precision has more mantissa than bfloat16: such weights are never narrowed to it.
        return weightType == DType.BFloat16 && parts.Any(part => part.Type == DType.Float16) ? null : weightType;
    }

    private string Identity(IReadOnlyList<string> names) => string.Join('\n', names.Select(source.Identity));

    // The rows of the embedding table are read at every step, also where it is the LM head as well.
    private void Release(IEnumerable<string> names)
    {
        foreach (string name in names.Where(name => name != _embedding))
            source.Release(name);
    }

    private HostTensor Floating(string name, HostTensor tensor) => tensor.Type != DType.Int32
        ? tensor
        : throw new CheckpointFormatException(source.FileOf(name), $"tensor {name}: dtype", "F32, BF16 or F16", "I32");
}
