using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.DemoModels.Training;

/// <summary>
/// Forward and backward of one batch, written out: libtorch computes the matrix products in bf16, <see cref="RowKernels"/> all the rest.
/// Three times less CPU time than autograd over small tensors; a test compares its gradients with autograd's.
/// </summary>
internal sealed unsafe partial class TrainingPass
{
    private readonly TrainableDecoder _model;
    private readonly ModelShape _shape;
    private readonly Layer[] _layers;
    private readonly Tensor _embedding;
    private readonly Block _finalNorm;
    private readonly float[] _cosines;
    private readonly float[] _sines;

    public TrainingPass(TrainableDecoder model)
    {
        _model = model;
        _shape = model.Shape;
        int[] widths = [_shape.Hidden, _shape.HeadDim / 2, _shape.Intermediate];
        if (widths.Any(width => width % 16 != 0))
            throw new ArgumentException($"Hidden size, half head and intermediate size must be multiples of 16, not {string.Join(", ", widths)}.");
        foreach ((string name, Tensor tensor) in model.Parameters)
            Gradients.Add(name, GC.AllocateArray<float>((int)tensor.numel(), pinned: true));
        _layers = [.. Enumerable.Range(0, _shape.Layers).Select(index => new Layer(this, $"model.layers.{index}."))];
        _embedding = Narrow("model.embed_tokens.weight");
        _finalNorm = new Block();
        (_cosines, _sines) = Angles();
    }

    /// <summary>Gradients of the last pass by parameter name.</summary>
    public Dictionary<string, float[]> Gradients { get; } = [];

    /// <summary>Mean loss of a batch; its gradients are in <see cref="Gradients"/> afterwards.</summary>
    /// <param name="inputs">Token ids [rows, length]; length a multiple of 16.</param>
    /// <param name="targets">The token after each.</param>
    /// <param name="teacherLogits">bf16 [rows * length, vocabulary] to follow, or null.</param>
    public double Run(long[] inputs, long[] targets, int length, Tensor? teacherLogits)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable grad = no_grad();
        (Tensor logits, Tensor normed) = Forward(inputs, length);
        double loss = TokenLoss.Compute(logits, targets, teacherLogits, logits);   // the gradient takes the place of the logits

        var slope = new float[inputs.Length * _shape.Hidden];
        Keep("model.embed_tokens.weight", logits.t().mm(normed));
        NormBackward(_finalNorm, "model.norm.weight", logits.mm(_embedding), slope);
        foreach (Layer layer in _layers.Reverse())
            Backward(layer, slope, length);
        Span<float> tableSlope = Gradients["model.embed_tokens.weight"];
        for (int row = 0; row < inputs.Length; row++)
            AddTo(slope.AsSpan(row * _shape.Hidden, _shape.Hidden), tableSlope.Slice((int)inputs[row] * _shape.Hidden, _shape.Hidden));
        return loss;
    }

    /// <summary>Logits [rows * length, vocabulary], bf16; in the caller's dispose scope.</summary>
    public Tensor Logits(long[] inputs, int length)
    {
        using IDisposable grad = no_grad();
        using DisposeScope scope = NewDisposeScope();
        return Forward(inputs, length).Logits.MoveToOuterDisposeScope();
    }

    private (Tensor Logits, Tensor Normed) Forward(long[] inputs, int length)
    {
        RefreshWeights();
        var hidden = new float[inputs.Length * _shape.Hidden];
        ReadOnlySpan<float> table = Floats(_model.Parameters["model.embed_tokens.weight"]);
        for (int row = 0; row < inputs.Length; row++)
            table.Slice((int)inputs[row] * _shape.Hidden, _shape.Hidden).CopyTo(hidden.AsSpan(row * _shape.Hidden));
        Tensor? added = null;
        foreach (Layer layer in _layers)
            added = Forward(layer, hidden, added, length);
        Tensor normed = Norm(_finalNorm, "model.norm.weight", hidden, added);
        return (normed.mm(_embedding.t()), normed);
    }

    private Tensor Forward(Layer layer, float[] hidden, Tensor? added, int length)
    {
        layer.Normed = Norm(layer.Input, layer.Prefix + "input_layernorm.weight", hidden, added);
        layer.Mixed = Attend(layer, layer.Normed.mm(layer.QueryKeyValue.t()), length);
        Tensor attention = layer.Mixed.mm(layer.Output.t());
        layer.MlpNormed = Norm(layer.Mlp, layer.Prefix + "post_attention_layernorm.weight", hidden, attention);
        layer.GateUpValues = layer.MlpNormed.mm(layer.GateUp.t());
        layer.Activated = empty(layer.Normed.shape[0], _shape.Intermediate, ScalarType.BFloat16);
        ushort* gateUp = Address(layer.GateUpValues), activated = Address(layer.Activated);
        ForRows(layer.Normed.shape[0], row =>
            RowKernels.GatedSilu(gateUp + row * 2 * _shape.Intermediate, activated + row * _shape.Intermediate, _shape.Intermediate));
        return layer.Activated.mm(layer.Down.t());
    }

    private void Backward(Layer layer, float[] slope, int length)
    {
        long rows = layer.Normed!.shape[0];
        Tensor output = Narrow(slope, _shape.Hidden);
        Keep(layer.Prefix + "mlp.down_proj.weight", output.t().mm(layer.Activated!));
        Tensor activatedSlope = output.mm(layer.Down), gateUpSlope = empty_like(layer.GateUpValues!);
        ushort* gateUp = Address(layer.GateUpValues!), change = Address(activatedSlope), target = Address(gateUpSlope);
        ForRows(rows, row => RowKernels.GatedSiluBackward(
            gateUp + row * 2 * _shape.Intermediate, change + row * _shape.Intermediate, target + row * 2 * _shape.Intermediate, _shape.Intermediate));
        Keep([layer.Prefix + "mlp.gate_proj.weight", layer.Prefix + "mlp.up_proj.weight"], gateUpSlope.t().mm(layer.MlpNormed!));
        NormBackward(layer.Mlp, layer.Prefix + "post_attention_layernorm.weight", gateUpSlope.mm(layer.GateUp), slope);

        output = Narrow(slope, _shape.Hidden);
        Keep(layer.Prefix + "self_attn.o_proj.weight", output.t().mm(layer.Mixed!));
        Tensor stacked = AttendBackward(layer, output.mm(layer.Output), length);
        Keep([.. "qkv".Select(part => $"{layer.Prefix}self_attn.{part}_proj.weight")], stacked.t().mm(layer.Normed));
        NormBackward(layer.Input, layer.Prefix + "input_layernorm.weight", stacked.mm(layer.QueryKeyValue), slope);
    }

    private Tensor Norm(Block block, string weight, float[] hidden, Tensor? added)
    {
        int width = _shape.Hidden, rows = hidden.Length / width;
        Tensor normed = empty(rows, width, ScalarType.BFloat16);
        block.Inverse = new float[rows];
        fixed (float* values = hidden, inverse = block.Inverse)
        {
            float* at = values, scale = inverse, weights = FloatAddress(weight);
            ushort* more = added is null ? null : Address(added), target = Address(normed);
            ForRows(rows, row => RowKernels.AddAndNorm(
                at + row * width, more is null ? null : more + row * width, weights, target + row * width, scale + row, width));
        }
        block.Hidden = (float[])hidden.Clone();
        return normed;
    }

    private void NormBackward(Block block, string weight, Tensor normedSlope, float[] slope)
    {
        int width = _shape.Hidden;
        float[] weightSlope = Gradients[weight];
        Array.Clear(weightSlope);
        ushort* source = Address(normedSlope);
        float* weights = FloatAddress(weight);
        fixed (float* hidden = block.Hidden, inverse = block.Inverse, target = slope, weightTarget = weightSlope)
        {
            for (long row = 0; row < block.Inverse.Length; row++)
                RowKernels.NormBackward(
                    source + row * width, hidden + row * width, inverse[row], weights, target + row * width, weightTarget, width);
        }
    }

    /// <summary>One layer's bf16 weights and what its forward pass leaves for the way back.</summary>
    private sealed class Layer(TrainingPass pass, string prefix)
    {
        public string Prefix { get; } = prefix;
        public Block Input { get; } = new();
        public Block Mlp { get; } = new();
        public Tensor QueryKeyValue { get; } = pass.Narrow([.. "qkv".Select(part => $"{prefix}self_attn.{part}_proj.weight")]);
        public Tensor Output { get; } = pass.Narrow(prefix + "self_attn.o_proj.weight");
        public Tensor GateUp { get; } = pass.Narrow(prefix + "mlp.gate_proj.weight", prefix + "mlp.up_proj.weight");
        public Tensor Down { get; } = pass.Narrow(prefix + "mlp.down_proj.weight");
        public Tensor? Normed, Queries, Keys, Values, Probabilities, Mixed, MlpNormed, GateUpValues, Activated;
    }

    /// <summary>A norm's input and scales.</summary>
    private sealed class Block
    {
        public float[] Hidden = [];
        public float[] Inverse = [];
    }

    private static ReadOnlySpan<float> Floats(Tensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.bytes);

    private float* FloatAddress(string parameter) => (float*)Address(_model.Parameters[parameter]);

    private static ushort* Address(Tensor tensor) =>
        (ushort*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(tensor.bytes));

    private static void ForRows(long rows, Action<long> body)
    {
        if (get_num_threads() == 1)
        {
            for (long row = 0; row < rows; row++)
                body(row);
            return;
        }
        Parallel.For(0, (rows + 63) / 64, block =>
        {
            for (long row = block * 64; row < Math.Min(rows, block * 64 + 64); row++)
                body(row);
        });
    }
}
