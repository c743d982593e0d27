using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Cluster.DemoModels.Training;

/// <summary>
/// Everything of a training step that is not a matrix product, fused and vectorised: bf16 in memory, fp32 in registers. All widths
/// are multiples of 16. Rows are independent, so a caller may split them over threads.
/// </summary>
internal static unsafe class RowKernels
{
    private const int Lanes = 16;

    /// <summary>hidden += added (if any); normed = hidden / rms * weight. Keeps 1/rms for the way back.</summary>
    public static void AddAndNorm(float* hidden, ushort* added, float* weight, ushort* normed, float* inverse, int width)
    {
        Vector512<float> squares = Vector512<float>.Zero;
        for (int i = 0; i < width; i += Lanes)
        {
            Vector512<float> value = Vector512.Load(hidden + i);
            if (added is not null)
            {
                value += Load(added + i);
                value.Store(hidden + i);
            }
            squares += value * value;
        }
        float scale = 1 / MathF.Sqrt(Vector512.Sum(squares) / width + ModelShape.NormEpsilon);
        *inverse = scale;
        for (int i = 0; i < width; i += Lanes)
            Store(normed + i, Vector512.Load(hidden + i) * scale * Vector512.Load(weight + i));
    }

    /// <summary>Adds the norm's input gradient to <paramref name="hiddenSlope"/> and its weight gradient to <paramref name="weightSlope"/>.</summary>
    public static void NormBackward(
        ushort* slope, float* hidden, float inverse, float* weight, float* hiddenSlope, float* weightSlope, int width)
    {
        Vector512<float> dot = Vector512<float>.Zero;
        for (int i = 0; i < width; i += Lanes)
        {
            Vector512<float> product = Load(slope + i) * Vector512.Load(hidden + i);
            dot += product * Vector512.Load(weight + i);
            (Vector512.Load(weightSlope + i) + product * inverse).Store(weightSlope + i);
        }
        float shrink = Vector512.Sum(dot) * inverse * inverse / width;
        for (int i = 0; i < width; i += Lanes)
        {
            Vector512<float> change = (Load(slope + i) * Vector512.Load(weight + i) - Vector512.Load(hidden + i) * shrink) * inverse;
            (Vector512.Load(hiddenSlope + i) + change).Store(hiddenSlope + i);
        }
    }

    /// <summary>output = silu(gate) * up, gate and up side by side.</summary>
    public static void GatedSilu(ushort* gateUp, ushort* output, int width)
    {
        for (int i = 0; i < width; i += Lanes)
        {
            Vector512<float> gate = Load(gateUp + i);
            Store(output + i, gate / (Vector512<float>.One + Vector512.Exp(-gate)) * Load(gateUp + width + i));
        }
    }

    /// <summary>Gradients of gate and up, side by side.</summary>
    public static void GatedSiluBackward(ushort* gateUp, ushort* slope, ushort* gateUpSlope, int width)
    {
        for (int i = 0; i < width; i += Lanes)
        {
            Vector512<float> gate = Load(gateUp + i), change = Load(slope + i);
            Vector512<float> sigmoid = Vector512<float>.One / (Vector512<float>.One + Vector512.Exp(-gate));
            Vector512<float> silu = gate * sigmoid;
            Store(gateUpSlope + i, change * Load(gateUp + width + i) * (sigmoid + silu * (Vector512<float>.One - sigmoid)));
            Store(gateUpSlope + width + i, change * silu);
        }
    }

    /// <summary>Rotates one head by its position's angles and scales it; a negative turn is the way back.</summary>
    public static void Rotate(ushort* head, ushort* output, float* cosines, float* sines, int half, float scale, float turn)
    {
        for (int i = 0; i < half; i += Lanes)
        {
            Vector512<float> a = Load(head + i) * scale, b = Load(head + half + i) * scale;
            Vector512<float> cosine = Vector512.Load(cosines + i), sine = Vector512.Load(sines + i) * turn;
            Store(output + i, a * cosine - b * sine);
            Store(output + half + i, b * cosine + a * sine);
        }
    }

    /// <summary>Softmax of the first <paramref name="visible"/> scores in place, zeros behind them.</summary>
    public static void CausalSoftmax(ushort* scores, int visible, int length, float* scratch)
    {
        Vector512<float> high = Vector512.Create(float.NegativeInfinity);
        int padded = (visible + Lanes - 1) / Lanes * Lanes;
        Vector512<float> index = Vector512.ConvertToSingle(Vector512<int>.Indices);
        for (int i = 0; i < padded; i += Lanes)
        {
            Vector512<float> mask = Vector512.LessThan(index, Vector512.Create((float)(visible - i)));
            Vector512<float> value = Vector512.ConditionalSelect(mask, Load(scores + i), Vector512.Create(float.NegativeInfinity));
            value.Store(scratch + i);
            high = Vector512.Max(high, value);
        }
        float max = float.NegativeInfinity;
        for (int i = 0; i < Lanes; i++)
            max = MathF.Max(max, high[i]);
        Vector512<float> total = Vector512<float>.Zero;
        for (int i = 0; i < padded; i += Lanes)
        {
            Vector512<float> value = Vector512.Exp(Vector512.Load(scratch + i) - Vector512.Create(max));
            value.Store(scratch + i);
            total += value;
        }
        float inverse = 1 / Vector512.Sum(total);
        for (int i = 0; i < padded; i += Lanes)
            Store(scores + i, Vector512.Load(scratch + i) * inverse);
        new Span<ushort>(scores + padded, length - padded).Clear();
    }

    /// <summary>slope = probabilities * (slope - sum(probabilities * slope)), in place; zeros behind the visible part.</summary>
    public static void SoftmaxBackward(ushort* probabilities, ushort* slope, int visible, int length)
    {
        Vector512<float> dot = Vector512<float>.Zero;
        int padded = (visible + Lanes - 1) / Lanes * Lanes;
        for (int i = 0; i < padded; i += Lanes)
            dot += Load(probabilities + i) * Load(slope + i);
        Vector512<float> mean = Vector512.Create(Vector512.Sum(dot));
        for (int i = 0; i < padded; i += Lanes)
            Store(slope + i, Load(probabilities + i) * (Load(slope + i) - mean));
        new Span<ushort>(slope + padded, length - padded).Clear();
    }

    /// <summary>Rounds fp32 values to bf16.</summary>
    public static void Narrow(float* source, ushort* target, long count)
    {
        for (long i = 0; i < count; i += Lanes)
            Store(target + i, Vector512.Load(source + i));
    }

    /// <summary>Adds bf16 values to fp32 values.</summary>
    public static void AddWidened(ushort* source, float* target, long count)
    {
        for (long i = 0; i < count; i += Lanes)
            (Vector512.Load(target + i) + Load(source + i)).Store(target + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(ushort* source)
    {
        Vector256<ushort> half = Vector256.Load(source);
        (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(half);
        return Vector512.ShiftLeft(Vector512.Create(low, high), 16).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(ushort* target, Vector512<float> values)
    {
        Vector512<uint> bits = values.AsUInt32();
        bits += Vector512.Create(0x7fffu) + (Vector512.ShiftRightLogical(bits, 16) & Vector512<uint>.One);
        bits = Vector512.ShiftRightLogical(bits, 16);
        Vector256.Narrow(bits.GetLower(), bits.GetUpper()).Store(target);
    }
}
