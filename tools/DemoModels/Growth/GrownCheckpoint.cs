using System.Text.Json;
using System.Text.Json.Nodes;
using Cluster.DemoModels.Checkpoints;
using Cluster.Kernels.Execution;
using Cluster.Kernels.Models;

namespace Cluster.DemoModels.Growth;

/// <summary>Writes a grown checkpoint as a Hugging Face folder; tokenizer files are copied.</summary>
internal sealed class GrownCheckpoint
{
    private readonly SafetensorsReader _source;
    private readonly GrowthPlan _plan;
    private readonly int _headDim;
    private readonly Random _random;
    private readonly List<TensorPlan> _tensors = [];

    private GrownCheckpoint(SafetensorsReader source, GrowthPlan plan, int headDim, int seed) =>
        (_source, _plan, _headDim, _random) = (source, plan, headDim, new Random(seed));

    /// <summary>Grows the checkpoint in one folder into another. Returns the number of parameters.</summary>
    public static long Write(
        string folder, string output, int? hidden, int? intermediate, int? keyValueHeads, int? layers, int seed)
    {
        var config = (JsonObject)JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!;
        GrowthPlan plan = GrowthPlan.For(config, hidden, intermediate, keyValueHeads, layers);
        JsonObject grown = plan.Apply(config);
        using SafetensorsReader source = SafetensorsReader.Open(folder);
        var checkpoint = new GrownCheckpoint(source, plan, grown["head_dim"]!.GetValue<int>(), seed);
        checkpoint.PlanTensors();
        Directory.CreateDirectory(output);
        foreach (string file in Directory.EnumerateFiles(folder))
            if (Path.GetFileName(file) is var name && (name.StartsWith("tokenizer", StringComparison.Ordinal) || name == "generation_config.json"))
                File.Copy(file, Path.Combine(output, name), overwrite: true);
        File.WriteAllText(Path.Combine(output, "config.json"), grown.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n");
        TensorFile.Write(Path.Combine(output, "model.safetensors"), checkpoint._tensors, new Dictionary<string, string> { ["format"] = "pt" });
        return checkpoint._tensors.Sum(tensor => tensor.Shape.Aggregate(1L, (product, size) => product * size));
    }

    private void PlanTensors()
    {
        (int oldHidden, int newHidden) = _plan.Hidden;
        // Embedding columns that a token writes into the stream: zeros behind the old ones.
        Add("model.embed_tokens.weight", null, Columns(oldHidden, newHidden, zero: true));
        for (int layer = 0; layer < _plan.Layers.Count; layer++)
            PlanLayer($"model.layers.{layer}.", _plan.Layers[layer] is int old ? $"model.layers.{old}." : null);
        AddNorm("model.norm.weight", "model.norm.weight");
        if (_source.Contains("lm_head.weight"))
            Add("lm_head.weight", null, Columns(oldHidden, newHidden, zero: false));
    }

    private void PlanLayer(string prefix, string? old)
    {
        (int, int) queries = Scale(_plan.Heads), keys = Scale(_plan.KeyValueHeads);
        void Matrix(string name, (int Old, int New) rows, (int Old, int New) columns, bool writesStream) =>
            Add(prefix + name, old is null ? "" : old + name, new Block(rows, columns, writesStream, ZeroColumns: false), Reference(name));
        AddNorm(prefix + "input_layernorm.weight", old + "input_layernorm.weight");
        Matrix("self_attn.q_proj.weight", queries, _plan.Hidden, writesStream: false);
        Matrix("self_attn.k_proj.weight", keys, _plan.Hidden, writesStream: false);
        Matrix("self_attn.v_proj.weight", keys, _plan.Hidden, writesStream: false);
        Matrix("self_attn.o_proj.weight", _plan.Hidden, queries, writesStream: true);
        foreach (string name in (string[])["self_attn.q_norm.weight", "self_attn.k_norm.weight"])
            if (_source.Contains(Reference(name)))
                Add(prefix + name, old is null ? "" : old + name, new Block((1, 1), (_headDim, _headDim), false, false), Reference(name));
        AddNorm(prefix + "post_attention_layernorm.weight", old + "post_attention_layernorm.weight");
        Matrix("mlp.gate_proj.weight", _plan.Intermediate, _plan.Hidden, writesStream: false);
        Matrix("mlp.up_proj.weight", _plan.Intermediate, _plan.Hidden, writesStream: false);
        Matrix("mlp.down_proj.weight", _plan.Hidden, _plan.Intermediate, writesStream: true);
    }

    private (int, int) Scale((int Old, int New) heads) => (heads.Old * _headDim, heads.New * _headDim);

    private static string Reference(string name) => "model.layers.0." + name;

    /// <summary>A matrix's old and new size, and what its new part holds.</summary>
    /// <param name="WritesStream">All of the new part is zero: it leads into the residual stream.</param>
    /// <param name="ZeroColumns">New columns are zero.</param>
    private sealed record Block((int Old, int New) Rows, (int Old, int New) Width, bool WritesStream, bool ZeroColumns);

    private Block Columns(int old, int grown, bool zero)
    {
        int vocabulary = (int)_source.Shape("model.embed_tokens.weight")[0];
        return new Block((vocabulary, vocabulary), (old, grown), WritesStream: false, ZeroColumns: zero);
    }

    /// <param name="name">Name in the grown model.</param>
    /// <param name="origin">Name in the source; null: the same; empty: a new layer.</param>
    /// <param name="block">Sizes.</param>
    /// <param name="typeOf">Tensor whose stored type is taken over; null: the origin's.</param>
    private void Add(string name, string? origin, Block block, string? typeOf = null)
    {
        origin ??= name;
        string type = _source.TypeName(typeOf ?? origin);
        long[] shape = block.Rows.New == 1 && name.EndsWith("norm.weight", StringComparison.Ordinal)
            ? [block.Width.New]
            : [block.Rows.New, block.Width.New];
        _tensors.Add(new TensorPlan(name, shape, type == "BF16", () => Fill(origin, block)));
    }

    private float[] Fill(string origin, Block block)
    {
        var values = new float[(long)block.Rows.New * block.Width.New];
        if (!block.WritesStream)
            FillRandom(values, block);
        if (origin.Length == 0)
            return values;
        HostTensor source = _source.Tensor(origin);
        for (int row = 0; row < block.Rows.Old; row++)
            source.ReadRow(row, values.AsSpan(row * block.Width.New, block.Width.Old));
        return values;
    }

    private void FillRandom(float[] values, Block block)
    {
        // Uniform with the deviation of usual initial weights, 0.02.
        const float Reach = 0.02f * 1.7320508f;
        for (int row = 0; row < block.Rows.New; row++)
        {
            Span<float> line = values.AsSpan(row * block.Width.New, block.Width.New);
            foreach (ref float value in block.ZeroColumns ? line[..block.Width.Old] : line)
                value = (_random.NextSingle() * 2 - 1) * Reach;
        }
    }

    /// <summary>A norm: old weights times the plan's factor, ones behind. Kept in fp32 unless bf16 holds the factor exactly.</summary>
    private void AddNorm(string name, string origin)
    {
        bool exact = BitConverter.SingleToUInt32Bits(_plan.NormFactor) << 9 == 0;
        bool isNew = !_source.Contains(origin);
        bool narrow = exact && _source.TypeName("model.norm.weight") == "BF16";
        _tensors.Add(new TensorPlan(name, [_plan.Hidden.New], narrow, () =>
        {
            float[] values = [.. Enumerable.Repeat(1f, _plan.Hidden.New)];
            if (isNew)
                return values;
            _source.Tensor(origin).ReadRow(0, values);
            for (int i = 0; i < _plan.Hidden.Old; i++)
                values[i] *= _plan.NormFactor;
            return values;
        }));
    }
}
