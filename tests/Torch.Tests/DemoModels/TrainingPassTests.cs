using Cluster.DemoModels.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.Torch.Tests.DemoModels;

[Collection(Native.Collection)]
public sealed class TrainingPassTests
{
    private static readonly ModelShape Shape = new(
        Vocabulary: 48, Hidden: 32, Layers: 2, Heads: 4, KeyValueHeads: 2, HeadDim: 32, Intermediate: 48, MaxPositions: 64);

    /// <summary>The written-out backward pass against autograd over the plain forward; both compute in bf16.</summary>
    [Theory]
    [InlineData(1, 32)]
    [InlineData(3, 48)]
    public void Gradients_EqualAutograd(int rows, int length)
    {
        Native.Require();
        using DisposeScope scope = NewDisposeScope();
        using var model = new TrainableDecoder(Shape, seed: 3);
        foreach (Tensor parameter in model.Parameters.Values)
            using (no_grad())
                parameter.mul_(4);   // far enough from zero that every path matters
        var random = new Random(5);
        long[] inputs = [.. Enumerable.Range(0, rows * length).Select(_ => (long)random.Next(Shape.Vocabulary))];
        long[] targets = [.. Enumerable.Range(0, rows * length).Select(_ => (long)random.Next(Shape.Vocabulary))];

        var pass = new TrainingPass(model);
        double loss = pass.Run(inputs, targets, length, teacherLogits: null);

        Tensor logits = model.Forward(tensor(inputs, rows, length)).to(ScalarType.Float32).view(rows * length, -1);
        Tensor expected = nn.functional.cross_entropy(logits, tensor(targets));
        expected.backward();
        Assert.Equal(expected.item<float>(), loss, 0.02);
        foreach ((string name, Tensor parameter) in model.Parameters)
        {
            float[] wanted = parameter.grad!.data<float>().ToArray();
            Assert.True(Cosine(wanted, pass.Gradients[name]) > 0.995, $"{name}: cosine {Cosine(wanted, pass.Gradients[name])}");
            Assert.Equal(1, Norm(pass.Gradients[name]) / Norm(wanted), 0.05);
        }
    }

    private static double Norm(float[] values) => Math.Sqrt(values.Sum(value => (double)value * value));

    private static double Cosine(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum() / (Norm(a) * Norm(b));
}
