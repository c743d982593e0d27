using Cluster.Kernels.Models;

namespace Cluster.Kernels.Execution;

/// <summary>A shard of a model on one device: checks a batch, posts it to the <see cref="DeviceThread"/>, runs the decoder and samples.</summary>
public sealed class ShardEngine : IShardEngine
{
    private readonly DeviceThread _device;
    private readonly IWeightSource _source;
    private readonly DecoderModel _model;
    private readonly BatchValidator _validator;
    private readonly RowSampling _sampling;
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

    /// <summary>The decoder, for tests; used on the device's thread only.</summary>
    internal DecoderModel Model => _model;

    /// <summary>Loads a shard. Layers are separate pieces of work, so that other shards of the device can step in between.</summary>
    /// <exception cref="CheckpointFormatException">The checkpoint is malformed or not supported.</exception>
    /// <exception cref="ShardSpecException">The spec does not fit the model.</exception>
    /// <exception cref="DeviceMemoryException">The device has too little memory.</exception>
    public static async Task<ShardEngine> LoadAsync(ShardSpec spec, DeviceThread device, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentNullException.ThrowIfNull(device);
        ModelConfig config = ModelConfig.Load(spec.ModelFolder);
        ShardMemory memory = ShardMemory.For(spec, config);
        if (spec.Quantization != WeightQuantization.None && Checkpoint.ReadIndex(spec.ModelFolder).IsQuantized)
            throw new ShardSpecException(nameof(spec.Quantization), "None: the checkpoint's weights are quantised already", spec.Quantization.ToString());
        IWeightSource source = Checkpoint.Open(spec.ModelFolder, config);
        DecoderModel? model = null;
        try
        {
            model = await device.RunAsync(ops => new DecoderModel(ops, config, source, spec.WeightType, spec.Quantization));
            await device.RunAsync(_ => model.LoadEnds(spec.MaxBatchedTokens, spec.MaxModelLength, memory.CacheShape));
            for (int layer = 0; layer < config.Layers.Count; layer++)
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
            if (e is OutOfMemoryException)
                throw memory.Exhausted(e);
            throw;
        }
    }

    /// <inheritdoc/>
    public Task<ForwardOutput> ExecuteAsync(ForwardBatch batch) => ExecuteAsync(batch, ExecutionPlan.Exact);

    /// <summary>Runs one step with an execution plan.</summary>
    /// <exception cref="BatchRejectedException">The batch does not fit the shard.</exception>
    /// <exception cref="NonFiniteLogitException">The model gave NaN or infinity.</exception>
    public async Task<ForwardOutput> ExecuteAsync(ForwardBatch batch, ExecutionPlan plan)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        _validator.Check(batch);
        return await _device.RunAsync(ops => Execute(ops, batch, plan));
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
    internal ForwardOutput Execute(IDeviceOps ops, ForwardBatch batch, ExecutionPlan plan)
    {
        _model.Forward(ops.Prepare(batch), plan);
        if (batch.LogitRows.Length == 0)
            return ForwardOutput.Empty;
        var results = new LogitResult[batch.LogitRows.Length];
        int tile = _model.Workspace.LogitTile;
        for (int start = 0; start < results.Length; start += tile)
        {
            int count = Math.Min(tile, results.Length - start);
            _model.ComputeLogits(batch.LogitRows.AsSpan(start, count));
            _sampling.Choose(ops, _model.Workspace.Logits, batch.Logits.AsMemory(start, count), results.AsMemory(start, count));
        }
        return new ForwardOutput(results);
    }
}
