using Cluster.Kernels.Execution;
using Xunit;

namespace Cluster.TestKit.DeviceOps;

public abstract partial class DeviceOpsConformance
{
    [Theory]
    [InlineData(1, 4, 1, true, DType.Float32)]
    [InlineData(5, 8, 2, true, DType.BFloat16)]
    [InlineData(40, 9, 3, false, DType.Float32)]
    [InlineData(3, 6, 6, true, DType.BFloat16)]
    public void RoutedExperts_MatchOracle(int rows, int experts, int topK, bool renormalise, DType type)
    {
        const int Hidden = 40, Intermediate = 28;
        HostMatrix[] Stack(int outFeatures, int inFeatures) =>
            [.. Enumerable.Range(0, experts).Select(_ => Matrix(outFeatures, inFeatures, type, 0.3f))];
        HostMatrix[] gate = Stack(Intermediate, Hidden), up = Stack(Intermediate, Hidden), down = Stack(Hidden, Intermediate);
        ExpertWeights weights = Own(Ops.LoadExperts(new ExpertSource(Views(gate), Views(up), Views(down))));
        ExpertRouting routing = Own(Ops.AllocateRouting(rows + 2, topK));
        (DeviceBuffer logits, double[][] scores) = Filled(rows, experts, scale: 2);
        (DeviceBuffer input, double[][] inputs) = Filled(rows, Hidden);
        (DeviceBuffer output, double[][] outputs) = Filled(rows, Hidden);
        Assert.Equal((experts, Hidden, Intermediate), (weights.Experts, weights.Hidden, weights.Intermediate));

        Ops.RouteTopK(rows, logits, renormalise, routing);
        Ops.ExpertMlp(rows, input, weights, routing, output);

        for (int row = 0; row < rows; row++)
        {
            double[] expected = outputs[row];
            foreach ((int expert, double factor) in OracleOps.Route(scores[row], topK, renormalise))
            {
                double[] part = OracleOps.Mlp(inputs[row], HostMatrix.Values(gate[expert].View), HostMatrix.Values(up[expert].View),
                    HostMatrix.Values(down[expert].View));
                expected = [.. expected.Zip(part, (a, b) => a + factor * b)];
            }
            AssertRow(expected, output, row);
        }
    }

    /// <summary>Outputs one by one, then combined: what ranks that hold parts of the experts do, with their sum in between.</summary>
    [Fact]
    public void ExpertOutputs_CombineToTheSame()
    {
        const int Rows = 7, Experts = 5, TopK = 2, Hidden = 40, Intermediate = 24, First = 3;
        HostMatrix[] Stack(int outFeatures, int inFeatures) => [.. Enumerable.Range(0, Experts).Select(_ => Matrix(outFeatures, inFeatures, DType.Float32, 0.3f))];
        HostMatrix[] gate = Stack(Intermediate, Hidden), up = Stack(Intermediate, Hidden), down = Stack(Hidden, Intermediate);
        ExpertWeights weights = Own(Ops.LoadExperts(new ExpertSource(Views(gate), Views(up), Views(down))));
        ExpertRouting routing = Own(Ops.AllocateRouting(Rows, TopK));
        (DeviceBuffer logits, double[][] scores) = Filled(Rows, Experts, scale: 2);
        (DeviceBuffer input, double[][] inputs) = Filled(Rows, Hidden);
        DeviceBuffer whole = Buffer(Rows, Hidden), combined = Buffer(Rows, Hidden), outputs = Buffer(First + (Rows * TopK), Hidden);
        Ops.RouteTopK(Rows, logits, renormalise: true, routing);
        Ops.ExpertMlp(Rows, input, weights, routing, whole);

        Ops.ExpertOutputs(Rows, input, weights, routing, outputs, First);
        Ops.CombineExperts(Rows, outputs, First, routing, combined);

        for (int row = 0; row < Rows; row++)
        {
            (int Expert, double Factor)[] chosen = [.. OracleOps.Route(scores[row], TopK, renormalise: true).Select(pair => (pair.Item1, pair.Item2)).OrderBy(pair => pair.Item1)];
            for (int k = 0; k < TopK; k++)
                AssertRow(OracleOps.Mlp(inputs[row], HostMatrix.Values(gate[chosen[k].Expert].View), HostMatrix.Values(up[chosen[k].Expert].View), HostMatrix.Values(down[chosen[k].Expert].View)), outputs, First + (row * TopK) + k);
            Assert.Equal(Read(whole, row), Read(combined, row));
        }
    }

    [Fact]
    public void RouteTopK_TiesGoToTheLowerId()
    {
        const int Hidden = 8;
        // Expert e gives every output the value e + 1 in its down projection, so the output tells who was chosen.
        HostMatrix[] gate = [.. Enumerable.Range(0, 4).Select(_ => Own(new HostMatrix(4, Hidden, DType.Float32, (_, _) => 1)))];
        HostMatrix[] down = [.. Enumerable.Range(0, 4).Select(expert => Own(new HostMatrix(Hidden, 4, DType.Float32, (_, _) => 1 << expert)))];
        ExpertWeights weights = Own(Ops.LoadExperts(new ExpertSource(Views(gate), Views(gate), Views(down))));
        ExpertRouting routing = Own(Ops.AllocateRouting(1, 2));
        DeviceBuffer logits = Buffer(1, 4), input = Buffer(1, Hidden), output = Buffer(1, Hidden);
        Ops.WriteRow(logits, 0, [0.5f, 1, 1, 1]);
        Ops.WriteRow(input, 0, [1, 0, 0, 0, 0, 0, 0, 0]);

        Ops.RouteTopK(1, logits, renormalise: true, routing);
        Ops.ExpertMlp(1, input, weights, routing, output);

        double each = OracleOps.Sigmoid(1) * 4;   // silu(1) * 1, summed over 4 inner columns
        AssertRow([.. Enumerable.Repeat(0.5 * each * (2 + 4), Hidden)], output, 0);
    }

    /// <summary>Invariant 3 for experts: who else was routed to an expert does not change a row's bits.</summary>
    [Fact]
    public void ExpertRows_DoNotDependOnOtherRows()
    {
        const int Hidden = 48, Rows = 37;
        HostMatrix[] gate = [.. Enumerable.Range(0, 5).Select(_ => Matrix(32, Hidden, DType.BFloat16, 0.3f))];
        HostMatrix[] down = [.. Enumerable.Range(0, 5).Select(_ => Matrix(Hidden, 32, DType.BFloat16, 0.3f))];
        ExpertWeights weights = Own(Ops.LoadExperts(new ExpertSource(Views(gate), Views(gate), Views(down))));
        ExpertRouting routing = Own(Ops.AllocateRouting(Rows, 2));
        (DeviceBuffer logits, _) = Filled(Rows, 5);
        (DeviceBuffer input, _) = Filled(Rows, Hidden);
        DeviceBuffer output = Buffer(Rows, Hidden), oneLogits = Buffer(1, 5), one = Buffer(1, Hidden);
        Ops.RouteTopK(Rows, logits, renormalise: true, routing);
        Ops.ExpertMlp(Rows, input, weights, routing, output);
        for (int row = 0; row < Rows; row++)
        {
            DeviceBuffer lone = Buffer(1, Hidden);
            Ops.GatherRows([row], logits, oneLogits);
            Ops.GatherRows([row], input, one);
            Ops.RouteTopK(1, oneLogits, renormalise: true, routing);
            Ops.ExpertMlp(1, one, weights, routing, lone);
            Assert.Equal(Read(output, row), Read(lone, 0));
        }
    }

    private static HostTensor[] Views(HostMatrix[] matrices) => [.. matrices.Select(matrix => matrix.View)];
}
