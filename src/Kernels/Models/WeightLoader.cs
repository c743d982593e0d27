using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// Loads one rank's part of the weights of one decoder by name, with the exact shape that the configuration demands and the role
/// that fixes the summation order. One loader loads one model; a failed load disposes what was loaded.
/// </summary>
internal sealed class WeightLoader(IDeviceOps ops, IWeightSource source, DType? weightType, WeightQuantization quantization, TensorPartition partition)
{
    private readonly List<string> _kept = [];

    /// <summary>Which part of every layer is loaded.</summary>
    public TensorPartition Partition { get; } = partition;

    /// <summary>Tensors that quantisation was asked for but whose rows are no whole groups: they keep the checkpoint's type.</summary>
    public IReadOnlyList<string> Kept => _kept;

    /// <summary>A norm weight or another vector.</summary>
    public VectorWeight Vector(string name, int length) => ops.LoadVector(Floating(name, source.Vector(name, length)));

    /// <summary>The embedding table, all of it: it is read where the checkpoint is mapped and takes no memory of a rank.</summary>
    public EmbeddingTable Embedding(string name, int vocabulary, int hidden) => ops.LoadEmbedding(Floating(name, source.Matrix(name, vocabulary, hidden)));

    /// <summary>Rows of a linear layer of one or several stacked modules.</summary>
    public LinearWeight ColumnParallel(bool hasBias, int inFeatures, params ReadOnlySpan<LinearRows> modules) =>
        Stack(hasBias, inFeatures, QuantizedType(isHead: false), modules);

    /// <summary>Columns of a linear layer. Where several ranks add up its output, the bias is loaded by itself: it is added once, to the sum.</summary>
    public RowParallelLinear RowParallel(bool hasBias, string module, Share columns, int inFeatures, int outFeatures)
    {
        bool isSummed = Partition.Size > 1;
        string name = $"{module}.weight";
        HostTensor[] parts = [.. source.Rows(name, outFeatures, inFeatures).Select(part => Floating(name, part).ColumnRange(columns.Start, columns.Count))];
        HostTensor? bias = hasBias ? Floating($"{module}.bias", source.Vector($"{module}.bias", outFeatures)) : null;
        DType? type = StoredType(parts, inFeatures, QuantizedType(isHead: false));
        LinearWeight weight = ops.LoadLinear(new LinearSource(parts, bias is { } fused && !isSummed ? Biases(fused, parts, 0) : [], LinearRole.RowParallel, type, Identity([name], columns, inFeatures))
        {
            Segments = Partition.RankSegments,
        });
        Release([name]);
        return new RowParallelLinear(weight, bias is { } own && isSummed ? ops.LoadVector(own) : null);
    }

    /// <summary>A router or a gate: small, and decides for all that follows, so it is whole on every rank and never quantised here.</summary>
    public LinearWeight Gate(int inFeatures, string module, int outFeatures) =>
        Stack(false, inFeatures, null, new LinearRows(module, outFeatures, Share.Whole(outFeatures)));

    /// <summary>This rank's tokens of the LM head: 4 bits would cost more than they save.</summary>
    public LinearWeight Head(int inFeatures, string module, int outFeatures) =>
        Stack(false, inFeatures, QuantizedType(isHead: true), new LinearRows(module, outFeatures, Partition.Vocabulary));

    /// <summary>This rank's columns of the routed experts of a layer, expert e under <c>PREFIX.e</c>.</summary>
    public ExpertWeights Experts(string prefix, ExpertFamily names, ExpertSettings settings, int hidden)
    {
        Share columns = Partition.ExpertColumns;
        string[] Names(string part) => [.. Enumerable.Range(0, settings.Count).Select(expert => $"{prefix}.{expert}.{part}.weight")];
        HostTensor[] Load(string[] tensors, int rows, int columns) => [.. tensors.Select(name => Floating(name, source.Matrix(name, rows, columns)))];
        (string[] gateNames, string[] upNames, string[] downNames) = (Names(names.Gate), Names(names.Up), Names(names.Down));
        HostTensor[] gate = [.. Load(gateNames, settings.IntermediateSize, hidden).Select(tensor => tensor.RowRange(columns.Start, columns.Count))];
        HostTensor[] up = [.. Load(upNames, settings.IntermediateSize, hidden).Select(tensor => tensor.RowRange(columns.Start, columns.Count))];
        HostTensor[] down = Load(downNames, hidden, settings.IntermediateSize);
        DType? type = StoredType([.. gate, .. up, .. down], null, QuantizedType(isHead: false));
        string[] all = [.. gateNames, .. upNames, .. downNames];
        HostTensor[] part = [.. down.Select(tensor => tensor.ColumnRange(columns.Start, columns.Count))];
        ExpertWeights weights = ops.LoadExperts(new ExpertSource(gate, up, part, type, Identity(all, columns, settings.IntermediateSize)) { Segments = Partition.RankSegments });
        Release(all);
        return weights;
    }

    private LinearWeight Stack(bool hasBias, int inFeatures, DType? quantized, params ReadOnlySpan<LinearRows> modules)
    {
        var parts = new List<HostTensor>(modules.Length);
        var biases = new List<HostTensor>(modules.Length);
        var names = new List<string>(modules.Length);
        string identity = "";
        foreach ((string module, int outFeatures, Share rows) in modules)
        {
            string name = $"{module}.weight";
            HostTensor[] own = [.. Cut(source.Rows(name, outFeatures, inFeatures), rows).Select(part => Floating(name, part))];
            parts.AddRange(own);
            if (hasBias)
                biases.AddRange(Biases(Floating($"{module}.bias", source.Vector($"{module}.bias", outFeatures)), own, rows.Start));
            names.Add(name);
            identity += $"{Identity([name], rows, outFeatures)}\n";
        }
        LinearWeight weight = ops.LoadLinear(new LinearSource(parts, biases, LinearRole.ColumnParallel, StoredType(parts, null, quantized), identity));
        Release(names);
        return weight;
    }

    // Rows of a matrix that comes as several ranges of them.
    private static IEnumerable<HostTensor> Cut(IReadOnlyList<HostTensor> parts, Share rows)
    {
        int first = 0;
        foreach (HostTensor part in parts)
        {
            int start = Math.Max(0, rows.Start - first), end = Math.Min(part.Rows, rows.End - first);
            if (start < end)
                yield return part.RowRange(start, end - start);
            first += part.Rows;
        }
    }

    private static List<HostTensor> Biases(HostTensor whole, IReadOnlyList<HostTensor> parts, int start)
    {
        var biases = new List<HostTensor>(parts.Count);
        foreach (HostTensor part in parts)
        {
            biases.Add(whole.ColumnRange(start, part.Rows));
            start += part.Rows;
        }
        return biases;
    }

    private DType? QuantizedType(bool isHead) => quantization switch
    {
        WeightQuantization.Int8 => DType.Q8_0,
        WeightQuantization.Int4 => isHead ? DType.Q8_0 : DType.Q4_0,
        _ => null,
    };

    // What a tensor is stored as follows from the whole of it, whatever a rank's columns of it would allow.
    private DType? StoredType(IReadOnlyList<HostTensor> parts, int? wholeColumns, DType? quantized)
    {
        bool Fits(HostTensor part) => BlockQuantizer.Fits(wholeColumns ?? part.Columns);
        if (quantized is not null && parts.All(Fits))
            return quantized;
        if (quantized is not null)
            _kept.Add(parts.First(part => !Fits(part)).Name);
        // Half precision has more mantissa than bfloat16: such weights are never narrowed to it.
        return weightType == DType.BFloat16 && parts.Any(part => part.Type == DType.Float16) ? null : weightType;
    }

    private string Identity(IReadOnlyList<string> names, Share part, int whole)
    {
        string tensors = string.Join('\n', names.Select(source.Identity));
        return part.Count == whole ? tensors : $"{tensors}[{part.Start}+{part.Count}]";
    }

    // Also of an embedding table that is the LM head as well: rows that steps ask for come back from the page cache.
    private void Release(IEnumerable<string> names)
    {
        foreach (string name in names)
            source.Release(name);
    }

    private HostTensor Floating(string name, HostTensor tensor) => tensor.Type != DType.Int32
        ? tensor
        : throw new CheckpointFormatException(source.FileOf(name), $"tensor {name}: dtype", "F32, BF16 or F16", "I32");
}

/// <summary>Some output rows of a linear module (<c>NAME.weight</c>, <c>NAME.bias</c>).</summary>
/// <param name="Module">Its name.</param>
/// <param name="OutFeatures">Rows of the whole weight.</param>
/// <param name="Rows">Those to load.</param>
internal readonly record struct LinearRows(string Module, int OutFeatures, Share Rows);
