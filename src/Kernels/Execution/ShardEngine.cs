using Cluster.Kernels.Collectives;
using Cluster.Kernels.Models;
using Cluster.Kernels.Sampling;

namespace Cluster.Kernels.Execution;

/// <summary>
/// A shard of a model on one device: checks a batch, posts it to the <see cref="DeviceThread"/>, runs the decoder and samples. One of
/// several shards is one rank of a tensor and pipeline parallel replica (<see cref="Join"/>). Where the splits align
/// (<see cref="IsAligned"/>) the results are bitwise those of one shard, else within rounding.
/// </summary>
public sealed class ShardEngine : IShardEngine
{
    private readonly DeviceThread _device;
    private readonly IWeightSource _source;
    private readonly DecoderModel _model;
    private readonly BatchValidator _validator;
    private readonly RowSampling _sampling;
    private readonly VocabularySampling? _vocabularySampling;
    private volatile ReplicaRanks? _ranks;
    private int _disposed;

    private ShardEngine(ShardSpec spec, DeviceThread device, IWeightSource source, DecoderModel model, int blocks)
    {
        Spec = spec;
        BlockCount = blocks;
        _device = device;
        _source = source;
        _model = model;
        _validator = new BatchValidator(spec, model.Config.VocabularySize, blocks);
        _sampling = new RowSampling(model.Config.VocabularySize);
        if (model.Part is { HasHead: true, Tensor.Size: > 1 })
            _vocabularySampling = new VocabularySampling(model, _sampling, spec.MaxBatchedTokens);
    }

    /// <inheritdoc/>
    public ShardSpec Spec { get; }

    /// <inheritdoc/>
    public int BlockCount { get; }

    /// <inheritdoc/>
    public int BlockSize => Spec.BlockSize;

    /// <summary>What was loaded.</summary>
    public ModelConfig Config => _model.Config;

    /// <summary>Tensors that could not be quantised as asked for: their rows are no whole groups.</summary>
    public IReadOnlyList<string> KeptWeights => _model.KeptWeights;

    /// <summary>Whether this replica's tensor parallel sums are bitwise those of one shard.</summary>
    public bool IsAligned => _model.Part.Tensor.IsAligned;

    /// <summary>The decoder, for tests; used on the device's thread only.</summary>
    internal DecoderModel Model => _model;

    /// <summary>The ranks of the epoch that was joined last, for tests.</summary>
    internal ReplicaRanks? Ranks => _ranks;

    /// <summary>Loads a shard. Layers are separate pieces of work, so that other shards of the device can step in between.</summary>
    /// <exception cref="CheckpointFormatException">The checkpoint is malformed or not supported.</exception>
    /// <exception cref="ShardSpecException">The spec does not fit the model.</exception>
    /// <exception cref="DeviceMemoryException">The device has too little memory.</exception>
    public static async Task<ShardEngine> LoadAsync(ShardSpec spec, DeviceThread device, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(device);
        ModelConfig config = ModelConfig.Load(spec.ModelFolder);
        if (spec.Quantization != WeightQuantization.None && Checkpoint.ReadIndex(spec.ModelFolder).IsQuantized)
            throw new ShardSpecException(nameof(spec.Quantization), "None: the checkpoint's weights are quantised already and are used as they are", spec.Quantization.ToString());
        IWeightSource source = Checkpoint.Open(spec.ModelFolder, config);
        DecoderModel? model = null;
        ShardMemory? memory = null;
        try
        {
            ShardPart part = ShardPart.For(spec, config, Math.Max(source.BlockElements, BlockQuantizer.ElementsOf(spec.Quantization)));
            memory = ShardMemory.For(spec, config, part);
            model = await device.RunAsync(ops => new DecoderModel(ops, config, part, source, spec.WeightType, spec.Quantization));
            await device.RunAsync(_ => model.LoadEnds(spec.MaxBatchedTokens, spec.MaxModelLength, memory.CacheShape));
            for (int layer = 0; layer < part.Layers.Count; layer++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                await device.RunAsync(_ => model.LoadLayer());
            }
            return new ShardEngine(spec, device, source, model, memory.CacheShape.Blocks);
        }
        catch (Exception e)
        {
            if (model is not null)
                await device.RunAsync(_ => model.Dispose());
            source.Dispose();
            if (e is OutOfMemoryException && memory is not null)
                throw memory.Exhausted(e);
            throw;
        }
    }

    /// <inheritdoc/>
    public void Join(IProcessGroup? group) => _ranks = group is null ? null : new ReplicaRanks(Spec, group);

    /// <inheritdoc/>
    public Task<ForwardOutput> ExecuteAsync(ForwardBatch batch) => ExecuteAsync(batch, ExecutionPlan.Exact);

    /// <summary>Runs one step with an execution plan.</summary>
    /// <exception cref="BatchRejectedException">The batch does not fit the shard.</exception>
    /// <exception cref="NonFiniteLogitException">The model gave NaN or infinity.</exception>
    public async Task<ForwardOutput> ExecuteAsync(ForwardBatch batch, ExecutionPlan plan)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        _validator.Check(batch);
        ReplicaRanks? ranks = _ranks;
        if (ranks is null && Spec.TensorParallel.Size * Spec.Pipeline.Size > 1)
            throw new InvalidOperationException($"A replica of {Spec.TensorParallel.Size} x {Spec.Pipeline.Size} shards runs no step before they have joined a group.");
        return await _device.RunAsync(ops => Execute(ops, batch, plan, ranks));
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        try
        {
            await _device.RunAsync(_ => _model.Dispose());
        }
        catch (ObjectDisposedException)
        {
            _model.Dispose();       // the device was closed before its shards: nothing runs there any more
        }
        _source.Dispose();
    }

    /// <summary>One step, on the device's thread. Allocates nothing but the results.</summary>
    internal ForwardOutput Execute(IDeviceOps ops, ForwardBatch batch, ExecutionPlan plan, ReplicaRanks? ranks = null)
    {
        if (ranks is null)
            return Step(ops, batch, plan, null);
        try
        {
            ranks.Begin(batch);
            return Step(ops, batch, plan, ranks);
        }
        catch (Exception e) when (e is not NonFiniteLogitException)
        {
            ranks.Abort(e);
            throw;
        }
    }

    private ForwardOutput Step(IDeviceOps ops, ForwardBatch batch, ExecutionPlan plan, ReplicaRanks? ranks)
    {
        _model.Forward(ops.Prepare(batch), plan, ranks);
        if (batch.LogitRows.Length == 0 || !_model.Part.HasHead)
            return ForwardOutput.Empty;
        if (_vocabularySampling is null)
            return Sample(ops, batch);
        TensorRanks tensor = ranks!.Tensor!;
        LogitResult[] merged = tensor.Rank == 0 ? new LogitResult[batch.LogitRows.Length] : [];
        _vocabularySampling.Choose(ops, batch, tensor, merged);
        return tensor.Rank == 0 ? new ForwardOutput(merged) : ForwardOutput.Empty;
    }

    private ForwardOutput Sample(IDeviceOps ops, ForwardBatch batch)
    {
        var results = new LogitResult[batch.LogitRows.Length];
        int tile = _model.Workspace.LogitTile;
        for (int start = 0; start < results.Length; start += tile)
        {
            int count = Math.Min(tile, results.Length - start);
            _model.ComputeLogits(batch.LogitRows.AsSpan(start, count));
            _sampling.Choose(ops, _model.Workspace.Logits!, batch.Logits.AsMemory(start, count), results.AsMemory(start, count));
        }
        return new ForwardOutput(results);
    }
}
