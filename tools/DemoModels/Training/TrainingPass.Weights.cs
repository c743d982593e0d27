using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.DemoModels.Training;

internal sealed unsafe partial class TrainingPass
{
    private readonly List<(Tensor Narrow, string[] Parameters)> _narrow = [];

    /// <summary>A bf16 copy of parameters stacked by rows, refreshed by every pass.</summary>
    private Tensor Narrow(params string[] parameters)
    {
        long rows = parameters.Sum(name => _model.Parameters[name].shape[0]);
        Tensor narrow = empty(rows, _model.Parameters[parameters[0]].shape[1], ScalarType.BFloat16).DetachFromDisposeScope();
        _narrow.Add((narrow, parameters));
        return narrow;
    }

    private void RefreshWeights()
    {
        foreach ((Tensor narrow, string[] parameters) in _narrow)
        {
            ushort* target = Address(narrow);
            foreach (string name in parameters)
            {
                RowKernels.Narrow(FloatAddress(name), target, Gradients[name].Length);
                target += Gradients[name].Length;
            }
        }
    }

    private static Tensor Narrow(float[] values, int width)
    {
        Tensor narrow = empty(values.Length / width, width, ScalarType.BFloat16);
        fixed (float* source = values)
            RowKernels.Narrow(source, Address(narrow), values.Length);
        return narrow;
    }

    private void Keep(string parameter, Tensor slope) => Keep([parameter], slope);

    /// <summary>Widens a gradient, stacked by rows as its parameters are.</summary>
    private void Keep(string[] parameters, Tensor slope)
    {
        ushort* source = Address(slope);
        foreach (string name in parameters)
        {
            float[] gradient = Gradients[name];
            Array.Clear(gradient);
            fixed (float* target = gradient)
                RowKernels.AddWidened(source, target, gradient.Length);
            source += gradient.Length;
        }
    }

    private static void AddTo(ReadOnlySpan<float> source, Span<float> target)
    {
        for (int i = 0; i < source.Length; i++)
            target[i] += source[i];
    }
}
