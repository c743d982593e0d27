using System.Numerics;
using System.Runtime.InteropServices;
using Cluster.DemoModels.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.DemoModels.Training;

/// <summary>AdamW (arXiv 1711.05101) in one pass over each weight, with its moments in plain arrays so that a run can resume.</summary>
internal sealed class AdamW(Dictionary<string, Tensor> parameters)
{
    private const float Beta1 = 0.9f, Beta2 = 0.95f, Epsilon = 1e-8f, WeightDecay = 0.1f, MaxNorm = 1f;

    private readonly Dictionary<string, (float[] First, float[] Second)> _moments = parameters.ToDictionary(
        pair => pair.Key, pair => (new float[pair.Value.numel()], new float[pair.Value.numel()]));

    /// <summary>Steps taken.</summary>
    public int Steps { get; set; }

    /// <summary>Applies the gradients, clipped to norm 1, and clears them. Returns their norm before clipping.</summary>
    public double Step(float rate)
    {
        Steps++;
        double norm = Math.Sqrt(parameters.Values.Sum(tensor => SquaredNorm(Floats(tensor.grad!))));
        float clip = norm > MaxNorm ? (float)(MaxNorm / norm) : 1f;
        float correction1 = 1 - MathF.Pow(Beta1, Steps), correction2 = 1 - MathF.Pow(Beta2, Steps);
        foreach ((string name, Tensor tensor) in parameters)
        {
            // Matrices decay; norm scales do not.
            float keep = tensor.dim() > 1 ? 1 - rate * WeightDecay : 1;
            (float[] first, float[] second) = _moments[name];
            Update(Floats(tensor), Floats(tensor.grad!), first, second, clip, keep, rate / correction1, correction2);
            tensor.grad!.zero_();
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
