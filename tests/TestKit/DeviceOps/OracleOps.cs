namespace Cluster.TestKit.DeviceOps;

/// <summary>The device ops in double precision, loop by loop: what every implementation is compared with.</summary>
internal static class OracleOps
{
    public static double[] RmsNorm(double[] row, double[] weight, double epsilon)
    {
        double scale = 1 / Math.Sqrt(row.Sum(value => value * value) / row.Length + epsilon);
        return [.. row.Select((value, i) => value * scale * weight[i])];
    }

    public static double[] Linear(double[] row, double[,] weight, double[]? bias)
    {
        var output = new double[weight.GetLength(0)];
        for (int n = 0; n < output.Length; n++)
        {
            for (int k = 0; k < row.Length; k++)
                output[n] += row[k] * weight[n, k];
            output[n] += bias?[n] ?? 0;
        }
        return output;
    }

    public static double[] GatedSilu(double[] gateUp) =>
        [.. Enumerable.Range(0, gateUp.Length / 2).Select(j => gateUp[j] * Sigmoid(gateUp[j]) * gateUp[gateUp.Length / 2 + j])];

    public static double Sigmoid(double value) => 1 / (1 + Math.Exp(-value));

    /// <summary>Rotates pairs (i, i + half) of one head by a position's angles.</summary>
    public static double[] Rotate(double[] head, double[] cosines, double[] sines)
    {
        var output = (double[])head.Clone();
        int half = cosines.Length;
        for (int i = 0; i < half; i++)
        {
            output[i] = head[i] * cosines[i] - head[i + half] * sines[i];
            output[i + half] = head[i + half] * cosines[i] + head[i] * sines[i];
        }
        return output;
    }

    /// <summary>Softmax attention of one query head over some keys; no keys: zeros and -inf.</summary>
    public static (double[] Output, double LogSumExp) Attend(double[] query, IReadOnlyList<double[]> keys, IReadOnlyList<double[]> values)
    {
        var output = new double[query.Length];
        if (keys.Count == 0)
            return (output, double.NegativeInfinity);
        double[] scores = [.. keys.Select(key => key.Zip(query, (a, b) => a * b).Sum() / Math.Sqrt(query.Length))];
        double max = scores.Max();
        double total = scores.Sum(score => Math.Exp(score - max));
        for (int p = 0; p < keys.Count; p++)
            for (int d = 0; d < output.Length; d++)
                output[d] += Math.Exp(scores[p] - max) / total * values[p][d];
        return (output, max + Math.Log(total));
    }

    /// <summary>Softmax over all experts, the k largest (ties to the lower id), ascending by id.</summary>
    public static (int Expert, double Factor)[] Route(double[] logits, int topK, bool renormalise)
    {
        double max = logits.Max();
        double total = logits.Sum(value => Math.Exp(value - max));
        var chosen = logits.Select((value, expert) => (Expert: expert, Factor: Math.Exp(value - max) / total))
            .OrderByDescending(entry => entry.Factor).ThenBy(entry => entry.Expert).Take(topK).ToArray();
        double sum = renormalise ? chosen.Sum(entry => entry.Factor) : 1;
        return [.. chosen.Select(entry => (entry.Expert, entry.Factor / sum)).OrderBy(entry => entry.Expert)];
    }

    public static double[] Mlp(double[] row, double[,] gate, double[,] up, double[,] down) =>
        Linear(GatedSilu([.. Linear(row, gate, null), .. Linear(row, up, null)]), down, null);

    public static float RoundToBFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000);
    }
}
