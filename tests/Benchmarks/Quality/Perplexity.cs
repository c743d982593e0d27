using Cluster.Grains.Text;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Benchmarks.Quality;

/// <summary>
/// Mean negative log-likelihood of a text. The convention is llama.cpp's: the tokens are cut into chunks of the context size, each starts
/// afresh (with the begin token where the model has one added), and the tokens of its second half are scored.
/// </summary>
/// <param name="NatsPerToken">Mean over the scored tokens.</param>
/// <param name="Scored">Number of them.</param>
internal sealed record Perplexity(double NatsPerToken, long Scored)
{
    private const int BlockSize = 16;

    public static async Task<Perplexity> MeasureAsync(string model, Tokenizer tokenizer, string text, WeightQuantization quantization, int context)
    {
        int[] tokens = tokenizer.Encode(text, addSpecialTokens: false), frame = tokenizer.Encode("", addSpecialTokens: true);
        int? begin = frame.Length > 0 && frame[0] == tokenizer.BosTokenId ? frame[0] : null;
        var id = new DeviceId("cpu", 0);
        await using DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), id, threads: 0);
        await using ShardEngine engine = await ShardEngine.LoadAsync(Spec(model, id, quantization, context), device);
        double nats = 0;
        long scored = 0;
        for (int start = 0; start + context <= tokens.Length; start += context)
        {
            int[] chunk = tokens[start..(start + context)];
            if (begin is { } token)
                chunk[0] = token;
            nats += await device.RunAsync(ops => Score(ops, engine, chunk));
            scored += context - 1 - (context / 2);
        }
        return scored > 0
            ? new Perplexity(nats / scored, scored)
            : throw new ArgumentException($"The text has {tokens.Length} tokens, fewer than one chunk of {context}.", nameof(text));
    }

    private static ShardSpec Spec(string model, DeviceId device, WeightQuantization quantization, int context) => new()
    {
        ModelFolder = model,
        Device = device,
        Quantization = quantization,
        MaxModelLength = context,
        MaxBatchedTokens = context,
        MaxSequences = 1,
        KvCacheBytes = 1L << 30,
        BlockSize = BlockSize,
    };

    private static double Score(IDeviceOps ops, ShardEngine engine, int[] chunk)
    {
        var sequence = new TestSequence(chunk, [.. Enumerable.Range(0, (chunk.Length + BlockSize - 1) / BlockSize)]);
        engine.Model.Forward(ops.Prepare(TestSequence.Batch(BlockSize, [(sequence, chunk.Length)], TestSequence.Greedy)), ExecutionPlan.Exact);
        double nats = 0;
        int tile = engine.Model.Workspace.LogitTile;
        for (int row = chunk.Length / 2; row < chunk.Length - 1; row += tile)
        {
            int[] rows = [.. Enumerable.Range(row, Math.Min(tile, chunk.Length - 1 - row))];
            engine.Model.ComputeLogits(rows);
            for (int i = 0; i < rows.Length; i++)
                nats += Surprise(ops.ReadRow(engine.Model.Workspace.Logits!, i), chunk[rows[i] + 1]);
        }
        return nats;
    }

    private static double Surprise(ReadOnlySpan<float> logits, int token)
    {
        double maximum = float.NegativeInfinity, sum = 0;
        foreach (float logit in logits)
            maximum = Math.Max(maximum, logit);
        foreach (float logit in logits)
            sum += Math.Exp(logit - maximum);
        return maximum + Math.Log(sum) - logits[token];
    }
}
