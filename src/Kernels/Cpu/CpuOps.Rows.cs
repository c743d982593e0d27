using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Cpu;

internal sealed unsafe partial class CpuOps
{
    private static void NormRow(float* x, float* weight, int length, float epsilon, float* y)
    {
        float sum = 0;
        for (int i = 0; i < length; i++)
            sum = MathF.FusedMultiplyAdd(x[i], x[i], sum);
        float scale = 1 / MathF.Sqrt((sum / length) + epsilon);
        for (int i = 0; i < length; i++)
            y[i] = x[i] * scale * weight[i];
    }

    private static void LinearRow(float* x, CpuLinear weight, float* y, LinearMode mode)
    {
        int pairs = (weight.InFeatures + 1) / 2;
        Span<float> parts = stackalloc float[8];
        for (int n = 0; n < weight.OutFeatures; n++)
        {
            float* w = weight.Rows + ((long)n * weight.InFeatures);
            float result;
            if (weight.Role == LinearRole.ColumnParallel)
            {
                result = Dot(x, w, 0, weight.InFeatures);
            }
            else
            {
                for (int s = 0; s < 8; s++)
                    parts[s] = Dot(x, w, 2 * (int)((long)s * pairs / 8), Math.Min(weight.InFeatures, 2 * (int)((s + 1L) * pairs / 8)));
                result = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]));
            }

            if (weight.HasBias)
                result += weight.Bias[n];
            y[n] = mode == LinearMode.Add ? y[n] + result : result;
        }
    }

    private static float Dot(float* x, float* w, int start, int end)
    {
        float sum = 0;
        for (int k = start; k < end; k++)
            sum = MathF.FusedMultiplyAdd(w[k], x[k], sum);
        return sum;
    }

    private static void SiluRow(float* gateUp, int width, float* y)
    {
        for (int j = 0; j < width; j++)
            y[j] = gateUp[j] / (1 + MathF.Exp(-gateUp[j])) * gateUp[width + j];
    }

    private static void RouteRow(float* logits, int experts, bool renormalise, CpuRouting routing, int row)
    {
        int topK = routing.TopK;
        int* ids = routing.Experts + ((long)row * topK);
        float* factors = routing.Factors + ((long)row * topK);
        float max = float.NegativeInfinity;
        for (int e = 0; e < experts; e++)
            max = MathF.Max(max, logits[e]);
        float total = 0;
        for (int e = 0; e < experts; e++)
            total += MathF.Exp(logits[e] - max);
        float chosenTotal = 0;
        for (int k = 0; k < topK; k++)
        {
            int best = -1;
            for (int e = 0; e < experts; e++)
            {
                if (!new ReadOnlySpan<int>(ids, k).Contains(e) && (best < 0 || logits[e] > logits[best]))
                    best = e;
            }

            ids[k] = best;
            factors[k] = MathF.Exp(logits[best] - max) / total;
            chosenTotal += factors[k];
        }

        for (int k = 0; renormalise && k < topK; k++)
            factors[k] /= chosenTotal;
        new Span<int>(ids, topK).Sort(new Span<float>(factors, topK));
    }
}
