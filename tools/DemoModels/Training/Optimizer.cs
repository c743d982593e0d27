using System.Numerics;
using System.Runtime.InteropServices;
using Cluster.DemoModels.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.DemoModels.Training;

/// <summary>
/// Muon for the matrices of the layers (momentum made orthogonal by Newton-Schulz steps: Jordan et al. 2024; step size matched to
/// AdamW's as in arXiv 2502.16982), AdamW (arXiv 1711.05101) for embedding and norms. Moments are plain arrays, so that a run can resume.
/// </summary>
internal sealed class Optimizer(Dictionary<string, Tensor> parameters, Dictionary<string, float[]> gradients)
{
    private const float Momentum = 0.95f;
    private static readonly Scalar FirstFactor = 3.4445, SecondFactor = -4.7750, ThirdFactor = 2.0315;
    private const float Beta1 = 0.9f, Beta2 = 0.95f, Epsilon = 1e-8f, WeightDecay = 0.1f, MaxNorm = 1f;

    private readonly Dictionary<string, (float[] First, float[] Second)> _moments = parameters.ToDictionary(
        pair => pair.Key, pair => (new float[pair.Value.numel()], new float[pair.Value.numel()]));

    /// <summary>Steps taken.</summary>
    public int Steps { get; set; }

    /// <summary>Applies the gradients, clipped to norm 1. Returns their norm before clipping.</summary>
    public double Step(float rate)
    {
        Steps++;
        double norm = Math.Sqrt(gradients.Values.Sum(values => SquaredNorm(values)));
        float clip = norm > MaxNorm ? (float)(MaxNorm / norm) : 1f;
        float correction1 = 1 - MathF.Pow(Beta1, Steps), correction2 = 1 - MathF.Pow(Beta2, Steps);
        foreach ((string name, Tensor tensor) in parameters)
        {
            // Matrices decay; norm scales do not.
            float keep = tensor.dim() > 1 ? 1 - rate * WeightDecay : 1;
            (float[] first, float[] second) = _moments[name];
            if (tensor.dim() > 1 && name.StartsWith("model.layers.", StringComparison.Ordinal))
                UpdateOrthogonal(tensor, gradients[name], first, keep, rate);
            else
                Update(Floats(tensor), gradients[name], first, second, clip, keep, rate / correction1, correction2);
        }
        return norm;
    }

    /// <summary>The moments as tensors, for a training checkpoint.</summary>
    public IEnumerable<NamedTensor> Moments() => _moments.SelectMany(pair => new[]
    {
        new NamedTensor("first." + pair.Key, [pair.Value.First.Length], pair.Value.First),
        new NamedTensor("second." + pair.Key, [pair.Value.Second.Length], pair.Value.Second),
    });

    /// <summary>Takes back what <see cref="Moments"/> gave.</summary>
    public void Load(Dictionary<string, NamedTensor> tensors)
    {
        foreach ((string name, (float[] first, float[] second)) in _moments)
        {
            tensors["first." + name].Values.CopyTo(first, 0);
            tensors["second." + name].Values.CopyTo(second, 0);
        }
    }

    private static Span<float> Floats(Tensor tensor) => MemoryMarshal.Cast<byte, float>(tensor.bytes);

    private static double SquaredNorm(ReadOnlySpan<float> values)
    {
        Vector<float> sum = Vector<float>.Zero;
        int i = 0;
        for (; i <= values.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            var value = new Vector<float>(values[i..]);
            sum += value * value;
        }
        double total = Vector.Sum(sum);
        for (; i < values.Length; i++)
            total += values[i] * values[i];
        return total;
    }

    private static void UpdateOrthogonal(Tensor weights, float[] gradient, float[] momentum, float keep, float rate)
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable grad = no_grad();
        var direction = new float[gradient.Length];
        for (int i = 0; i < gradient.Length; i++)
        {
            momentum[i] += (gradient[i] - momentum[i]) * (1 - Momentum);
            direction[i] = momentum[i] + (gradient[i] - momentum[i]) * (1 - Momentum);   // Nesterov's look ahead
        }
        long rows = weights.shape[0], columns = weights.shape[1];
        float[] update = Orthogonal(direction, rows, columns).data<float>().ToArray();
        Span<float> values = Floats(weights);
        float length = rate * 0.2f * MathF.Sqrt(Math.Max(rows, columns));
        for (int i = 0; i < update.Length; i++)
            values[i] = values[i] * keep - update[i] * length;
    }

    /// <summary>
    /// Five Newton-Schulz steps towards the nearest matrix of equal singular values, in bf16. Scalars are kept by fields: TorchSharp
    /// 0.107 lets the collector free a temporary scalar while the native call still reads it.
    /// </summary>
    private static Tensor Orthogonal(float[] matrix, long rows, long columns)
    {
        float scale = 1 / ((float)Math.Sqrt(SquaredNorm(matrix)) + 1e-12f);
        for (int i = 0; i < matrix.Length; i++)
            matrix[i] *= scale;
        Tensor x = tensor(matrix, rows, columns).to(ScalarType.BFloat16);
        x = rows > columns ? x.t().contiguous() : x;
        for (int i = 0; i < 5; i++)
        {
            Tensor gram = x.mm(x.t());
            Tensor mixed = gram.mul(SecondFactor).add(gram.mm(gram), ThirdFactor);
            x = mixed.mm(x).add(x, FirstFactor);
        }
        return (rows > columns ? x.t() : x).to(ScalarType.Float32).contiguous();
    }

    private static void Update(
        Span<float> weights, ReadOnlySpan<float> gradients, Span<float> first, Span<float> second,
        float clip, float keep, float rate, float correction2)
    {
        float inverse = 1 / correction2;
        int i = 0;
        for (; i <= weights.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector<float> gradient = new Vector<float>(gradients[i..]) * clip;
            Vector<float> mean = new Vector<float>(first[i..]) * Beta1 + gradient * (1 - Beta1);
            Vector<float> square = new Vector<float>(second[i..]) * Beta2 + gradient * gradient * (1 - Beta2);
            Vector<float> change = mean * rate / (Vector.SquareRoot(square * inverse) + new Vector<float>(Epsilon));
            (new Vector<float>(weights[i..]) * keep - change).CopyTo(weights[i..]);
            mean.CopyTo(first[i..]);
            square.CopyTo(second[i..]);
        }
        for (; i < weights.Length; i++)
        {
            float gradient = gradients[i] * clip;
            first[i] = first[i] * Beta1 + gradient * (1 - Beta1);
            second[i] = second[i] * Beta2 + gradient * gradient * (1 - Beta2);
            weights[i] = weights[i] * keep - first[i] * rate / (MathF.Sqrt(second[i] * inverse) + Epsilon);
        }
    }
}
