using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using static TorchSharp.torch;

namespace Cluster.DemoModels.Training;

/// <summary>
/// Cross entropy and its gradient in one pass over bf16 logits, without the fp32 copies (50 MB each) autograd would keep.
/// With a teacher, the loss is 0.9 KL(teacher || model) + 0.1 cross entropy of the true token.
/// </summary>
internal static unsafe class TokenLoss
{
    private const float TeacherWeight = 0.9f;

    /// <summary>Mean loss per token.</summary>
    /// <param name="logits">bf16 [..., vocabulary], contiguous.</param>
    /// <param name="targets">The next token of each row.</param>
    /// <param name="teacherLogits">bf16, shaped as the logits, or null.</param>
    /// <param name="gradient">Receives d loss / d logits, bf16, shaped as the logits; null when it is not wanted.</param>
    public static double Compute(Tensor logits, long[] targets, Tensor? teacherLogits, Tensor? gradient)
    {
        int vocabulary = (int)logits.shape[^1];
        if (vocabulary % 16 != 0)
            throw new ArgumentException($"The vocabulary must be a multiple of 16, not {vocabulary}.");
        ushort* scores = Address(logits), teacher = Address(teacherLogits), slopes = Address(gradient);
        var losses = new double[targets.Length];
        Parallel.For(0, (targets.Length + 63) / 64, block =>
        {
            float* model = stackalloc float[vocabulary], wanted = stackalloc float[vocabulary];
            for (int row = block * 64; row < Math.Min(targets.Length, block * 64 + 64); row++)
            {
                long at = (long)row * vocabulary;
                losses[row] = Row(scores + at, teacher is null ? null : teacher + at, slopes is null ? null : slopes + at,
                    model, wanted, vocabulary, (int)targets[row], 1f / targets.Length);
            }
        });
        return losses.Average();
    }

    private static double Row(
        ushort* scores, ushort* teacher, ushort* slopes, float* model, float* wanted, int count, int target, float scale)
    {
        float logSum = Softmax(scores, model, count);
        double crossEntropy = logSum - Widen(scores[target]);
        float ownWeight = teacher is null ? 1 : 1 - TeacherWeight;
        double loss = ownWeight * crossEntropy;
        if (teacher is not null)
        {
            // KL = log-sum of the model - log-sum of the teacher + mean, under the teacher, of the difference of scores.
            float teacherLogSum = Softmax(teacher, wanted, count);
            Vector512<float> difference = Vector512<float>.Zero;
            for (int i = 0; i < count; i += 16)
                difference += Vector512.Load(wanted + i) * (RowKernels.Load(teacher + i) - RowKernels.Load(scores + i));
            loss += TeacherWeight * (logSum - teacherLogSum + Vector512.Sum(difference));
        }
        if (slopes is null)
            return loss;
        for (int i = 0; i < count; i += 16)
        {
            Vector512<float> slope = Vector512.Load(model + i);
            if (teacher is not null)
                slope -= Vector512.Load(wanted + i) * TeacherWeight;
            RowKernels.Store(slopes + i, slope * scale);
        }
        slopes[target] = Narrow(Widen(slopes[target]) - ownWeight * scale);
        return loss;
    }

    /// <summary>Writes probabilities, returns log(sum(exp(scores))).</summary>
    private static float Softmax(ushort* scores, float* probabilities, int count)
    {
        Vector512<float> high = Vector512.Create(float.NegativeInfinity);
        for (int i = 0; i < count; i += 16)
        {
            Vector512<float> value = RowKernels.Load(scores + i);
            value.Store(probabilities + i);
            high = Vector512.Max(high, value);
        }
        float max = float.NegativeInfinity;
        for (int i = 0; i < 16; i++)
            max = MathF.Max(max, high[i]);
        Vector512<float> sums = Vector512<float>.Zero;
        for (int i = 0; i < count; i += 16)
        {
            Vector512<float> value = Vector512.Exp(Vector512.Load(probabilities + i) - Vector512.Create(max));
            value.Store(probabilities + i);
            sums += value;
        }
        float sum = Vector512.Sum(sums), inverse = 1 / sum;
        for (int i = 0; i < count; i += 16)
            (Vector512.Load(probabilities + i) * inverse).Store(probabilities + i);
        return max + MathF.Log(sum);
    }

    private static float Widen(ushort value) => BitConverter.UInt32BitsToSingle((uint)value << 16);

    private static ushort Narrow(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }

    private static ushort* Address(Tensor? tensor) =>
        tensor is null ? null : (ushort*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref MemoryMarshal.GetReference(tensor.bytes));
}
