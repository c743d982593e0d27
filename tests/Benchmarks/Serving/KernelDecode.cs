using System.Diagnostics;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Benchmarks.Serving;

/// <summary>Decode steps of the kernels alone: the same engine that the silo loads, driven by a bare loop.</summary>
internal sealed class KernelDecode : IAsyncDisposable
{
    private readonly DeviceThread _device;
    private readonly ShardEngine _engine;

    private KernelDecode(DeviceThread device, ShardEngine engine)
    {
        _device = device;
        _engine = engine;
    }

    /// <summary>Loads the model with the silo's defaults.</summary>
    /// <param name="model">What the silo's <c>--model</c> takes.</param>
    /// <param name="maxSequences">Most sequences of one step.</param>
    /// <param name="threads">Threads of the device; 0 = the library's choice.</param>
    /// <param name="maxLength">Longest sequence and most rows of one step, in tokens.</param>
    /// <param name="quantization">How weights are stored.</param>
    public static async Task<KernelDecode> LoadAsync(string model, int maxSequences, int threads = 0, int maxLength = 512, WeightQuantization quantization = WeightQuantization.None)
    {
        var id = new DeviceId("cpu", 0);
        DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), id, threads);
        ShardEngine engine = await ShardEngine.LoadAsync(
            new ShardSpec
            {
                ModelFolder = model,
                Device = id,
                Quantization = quantization,
                MaxModelLength = maxLength,
                MaxBatchedTokens = maxLength,
                MaxSequences = maxSequences,
                KvCacheBytes = 1L << 30,
            },
            device);
        return new KernelDecode(device, engine);
    }

    /// <summary>Seconds of one decode step with <paramref name="streams"/> sequences, averaged over <paramref name="steps"/> steps.</summary>
    public async Task<double> StepSecondsAsync(int streams, int promptTokens, int steps)
    {
        int blocksEach = (promptTokens + steps) / _engine.BlockSize + 1;
        TestSequence[] sequences = [.. Enumerable.Range(0, streams).Select(s => new TestSequence(
            Enumerable.Range(0, promptTokens).Select(t => 10 + (s * 31 + t) % 200),
            [.. Enumerable.Range(s * blocksEach, blocksEach)]))];
        foreach (TestSequence sequence in sequences)
            sequence.Tokens.Add(await StepAsync([(sequence, promptTokens)]));

        long start = Stopwatch.GetTimestamp();
        for (int step = 0; step < steps - 1; step++)
        {
            ForwardBatch batch = TestSequence.Batch(_engine.BlockSize, [.. sequences.Select(sequence => (sequence, 1))], TestSequence.Greedy);
            ForwardOutput output = await _engine.ExecuteAsync(batch);
            for (int s = 0; s < streams; s++)
                sequences[s].Tokens.Add(output.Results[s].Token);
        }
        return Stopwatch.GetElapsedTime(start).TotalSeconds / (steps - 1);
    }

    /// <summary>Seconds of one step that computes a whole prompt of <paramref name="tokens"/> tokens and its next token.</summary>
    public async Task<double> PrefillSecondsAsync(int tokens)
    {
        var sequence = new TestSequence(
            Enumerable.Range(0, tokens).Select(token => 10 + token * 37 % 1000), [.. Enumerable.Range(0, tokens / _engine.BlockSize + 1)]);
        long start = Stopwatch.GetTimestamp();
        await StepAsync([(sequence, tokens)]);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _engine.DisposeAsync();
        await _device.DisposeAsync();
    }

    private async Task<int> StepAsync((TestSequence Sequence, int Rows)[] parts) =>
        (await _engine.ExecuteAsync(TestSequence.Batch(_engine.BlockSize, parts, TestSequence.Greedy))).Results[0].Token;
}
