using System.Diagnostics;
using Cluster.Kernels.Collectives;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Benchmarks.Parallel;

/// <summary>The shards of one replica in this process, each on a device of its own, driven by a bare loop.</summary>
internal sealed class ReplicaRunner : IAsyncDisposable
{
    private const int MaxRows = 512;
    private const int MaxSequences = 64;
    private readonly List<DeviceThread> _devices = [];
    private readonly List<ShardEngine> _engines = [];
    private IReadOnlyList<IProcessGroup> _groups = [];

    private ReplicaRunner(int tensor, int stages) => (Tensor, Stages) = (tensor, stages);

    public int Tensor { get; }

    public int Stages { get; }

    /// <summary>Loads a model over tensor x stages devices of so many threads each.</summary>
    public static async Task<ReplicaRunner> LoadAsync(string model, int tensor, int stages, int threads, WeightQuantization quantization)
    {
        var runner = new ReplicaRunner(tensor, stages);
        for (int rank = 0; rank < tensor * stages; rank++)
        {
            var id = new DeviceId("cpu", rank);
            DeviceThread device = await DeviceThread.StartAsync(new CpuOpsFactory(), id, threads);
            runner._devices.Add(device);
            runner._engines.Add(await ShardEngine.LoadAsync(
                new ShardSpec
                {
                    ModelFolder = model,
                    Device = id,
                    Quantization = quantization,
                    MaxModelLength = 1024,
                    MaxBatchedTokens = MaxRows,
                    MaxSequences = MaxSequences,
                    KvCacheBytes = 512L << 20,
                    TensorParallel = (rank % tensor, tensor),
                    Pipeline = (rank / tensor, stages),
                },
                device));
        }
        if (tensor * stages > 1)
        {
            runner._groups = ProcessGroups.CreateLocal(tensor * stages, 1, ProcessGroupOptions.Default);
            for (int rank = 0; rank < runner._groups.Count; rank++)
                runner._engines[rank].Join(runner._groups[rank]);
        }
        return runner;
    }

    /// <summary>Fills the cache that <see cref="DecodeAsync"/> reads.</summary>
    public async Task PrefillForDecodeAsync(int sequences, int promptTokens)
    {
        foreach (TestSequence sequence in Sequences(sequences, promptTokens))
            await StepAsync(Batch([(sequence, promptTokens)]));
    }

    /// <summary>Seconds in which every one of the sequences gets one token, in micro-batches that are in flight at once, averaged over steps.</summary>
    public async Task<double> DecodeAsync(int sequences, int promptTokens, int microBatches, int steps)
    {
        int each = sequences / microBatches;
        TestSequence[] all = Sequences(sequences, promptTokens);
        long start = Stopwatch.GetTimestamp();
        await Task.WhenAll(Enumerable.Range(0, microBatches).Select(async part =>
        {
            TestSequence[] own = all[(part * each)..((part + 1) * each)];
            for (int step = 0; step < steps; step++)
            {
                foreach (TestSequence sequence in own)
                    sequence.Computed = promptTokens - 1;
                await StepAsync(Batch([.. own.Select(sequence => (sequence, 1))]));
            }
        }));
        return Stopwatch.GetElapsedTime(start).TotalSeconds / steps;
    }

    /// <summary>Seconds for a prompt in chunks that are in flight at once.</summary>
    public async Task<double> PrefillAsync(int tokens, int chunk)
    {
        TestSequence sequence = Sequences(1, tokens)[0];
        long start = Stopwatch.GetTimestamp();
        var steps = new List<Task>();
        while (sequence.Computed < tokens)
            steps.Add(StepAsync(Batch([(sequence, Math.Min(chunk, tokens - sequence.Computed))])));
        await Task.WhenAll(steps);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (IProcessGroup group in _groups)
            group.Dispose();
        foreach (ShardEngine engine in _engines)
            await engine.DisposeAsync();
        foreach (DeviceThread device in _devices)
            await device.DisposeAsync();
    }

    private TestSequence[] Sequences(int count, int tokens)
    {
        int blocksEach = (tokens / _engines[0].BlockSize) + 1;
        return [.. Enumerable.Range(0, count).Select(s => new TestSequence(
            Enumerable.Range(0, tokens).Select(t => 10 + (((s * 31) + (t * 37)) % 1000)), [.. Enumerable.Range(s * blocksEach, blocksEach)]))];
    }

    private ForwardBatch Batch((TestSequence, int)[] parts) => TestSequence.Batch(_engines[0].BlockSize, parts, TestSequence.Greedy);

    private Task StepAsync(ForwardBatch batch)
    {
        lock (_engines)         // all shards get the steps in one order
            return _engines.Count == 1 ? _engines[0].ExecuteAsync(batch) : Task.WhenAll(_engines.Select(engine => engine.ExecuteAsync(batch)));
    }
}
