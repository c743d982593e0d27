using Cluster.Kernels.Collectives;
using Cluster.Kernels.Cpu;
using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Kernels.Tests.Models;

/// <summary>All shards of a tensor and pipeline parallel replica in this process, each on a device thread of its own.</summary>
internal sealed class LoadedReplica : IAsyncDisposable
{
    private readonly List<DeviceThread> _devices = [];
    private readonly List<ShardEngine> _engines = [];
    private IReadOnlyList<IProcessGroup> _groups = [];
    private long _epoch;

    private LoadedReplica(int tensor, int stages) => (Tensor, Stages) = (tensor, stages);

    public int Tensor { get; }

    public int Stages { get; }

    public IReadOnlyList<ShardEngine> Engines => _engines;

    public IReadOnlyList<IProcessGroup> Groups => _groups;

    /// <summary>Rank 0 of the last stage.</summary>
    public ShardEngine Last => _engines[(Stages - 1) * Tensor];

    public static Task<LoadedReplica> OpenAsync(string folder, int tensor, int stages) => OpenAsync(LoadedShard.Spec(folder), tensor, stages);

    public static async Task<LoadedReplica> OpenAsync(ShardSpec spec, int tensor, int stages)
    {
        var replica = new LoadedReplica(tensor, stages);
        try
        {
            for (int rank = 0; rank < tensor * stages; rank++)
            {
                var device = new DeviceId("cpu", rank);
                replica._devices.Add(await DeviceThread.StartAsync(new CpuOpsFactory(), device, 1));
                ShardSpec own = spec with { Device = device, TensorParallel = (rank % tensor, tensor), Pipeline = (rank / tensor, stages) };
                replica._engines.Add(await ShardEngine.LoadAsync(own, replica._devices[rank]));
            }
            replica.Join(ProcessGroups.CreateLocal(tensor * stages, 1, ProcessGroupOptions.Default));
            return replica;
        }
        catch
        {
            await replica.DisposeAsync();
            throw;
        }
    }

    /// <summary>A new epoch.</summary>
    public void Rejoin() => Join(ProcessGroups.CreateLocal(_engines.Count, ++_epoch, ProcessGroupOptions.Default));

    public void Join(IReadOnlyList<IProcessGroup> groups)
    {
        CloseGroups();
        _groups = groups;
        for (int rank = 0; rank < _engines.Count; rank++)
            _engines[rank].Join(groups[rank]);
    }

    /// <summary>Runs a step on all shards.</summary>
    public async Task<ForwardOutput> ExecuteAsync(ForwardBatch batch)
    {
        Task<ForwardOutput>[] steps;
        lock (_engines)         // all shards get the steps in one order
            steps = [.. _engines.Select(engine => engine.ExecuteAsync(batch))];
        ForwardOutput[] outputs = await Task.WhenAll(steps);
        for (int rank = 0; rank < outputs.Length; rank++)
            Assert.True(rank == (Stages - 1) * Tensor || outputs[rank].Results.Length == 0);
        return outputs[(Stages - 1) * Tensor];
    }

    /// <summary>Computes the next rows of each sequence and appends the greedy token to each that is complete.</summary>
    public async Task StepAsync(params (TestSequence Sequence, int Rows)[] parts)
    {
        ForwardOutput output = await ExecuteAsync(TestSequence.Batch(LoadedShard.BlockSize, parts, TestSequence.Greedy));
        for (int i = 0; i < parts.Length; i++)
        {
            if (parts[i].Sequence.Computed == parts[i].Sequence.Tokens.Count)
                parts[i].Sequence.Tokens.Add(output.Results[i].Token);
        }
    }

    /// <summary>Rows of the residual stream that the last step left on a rank.</summary>
    public Task<float[][]> HiddenAsync(int rank, int rows) => _devices[rank].RunAsync(ops =>
        Enumerable.Range(0, rows).Select(row => ops.ReadRow(_engines[rank].Model.Workspace.Hidden, row).ToArray()).ToArray());

    public Task<T> OnDeviceAsync<T>(int rank, Func<IDeviceOps, T> work) => _devices[rank].RunAsync(work);

    public async ValueTask DisposeAsync()
    {
        CloseGroups();
        foreach (ShardEngine engine in _engines)
            await engine.DisposeAsync();
        foreach (DeviceThread device in _devices)
            await device.DisposeAsync();
    }

    private void CloseGroups()
    {
        foreach (IProcessGroup group in _groups)
            group.Dispose();
    }
}
