using Cluster.Kernels.Execution;

namespace Cluster.Kernels.Models;

/// <summary>
/// A decoder on one device: embedding, layers, final norm and LM head over the device ops, driven by its
/// <see cref="ModelConfig"/>. Loaded piece by piece (<see cref="LoadEnds"/>, then <see cref="LoadLayer"/> for each
/// layer), so that a device that also serves another model can do its steps in between. All members are called on the
/// device's thread; the source must live as long as the model.
/// </summary>
internal sealed class DecoderModel : IDisposable
{
    private readonly IDeviceOps _ops;
    private readonly WeightLoader _loader;
    private readonly List<DecoderLayer> _layers = [];
    private EmbeddingTable? _embedding;
    private RotaryTable? _rotary;
    private VectorWeight? _finalNorm;
    private LinearWeight? _head;
    private DecoderWorkspace? _workspace;
    private KvCache? _cache;

    public DecoderModel(IDeviceOps ops, ModelConfig config, ShardPart part, IWeightSource source, DType? weightType, WeightQuantization quantization)
    {
        _ops = ops;
        _loader = new WeightLoader(ops, source, weightType, quantization, part.Tensor);
        Config = config;
        Part = part;
    }

    /// <summary>Configuration.</summary>
    public ModelConfig Config { get; }

    /// <summary>What of the model is here.</summary>
    public ShardPart Part { get; }

    /// <summary>Layers of this stage, first to last.</summary>
    public IReadOnlyList<DecoderLayer> Layers => _layers;

    /// <summary>Tensors that could not be quantised as asked for.</summary>
    public IReadOnlyList<string> KeptWeights => _loader.Kept;

    /// <summary>Activations; residual rows of the last pass.</summary>
    public DecoderWorkspace Workspace => _workspace!;

    /// <summary>Loads everything but the layers, and allocates workspace and KV cache.</summary>
    /// <param name="maxRows">Most rows of one step.</param>
    /// <param name="positions">Positions of the rotary table.</param>
    /// <param name="cacheShape">Sizes of the KV cache.</param>
    public void LoadEnds(int maxRows, int positions, KvCacheShape cacheShape)
    {
        const string Embedding = "model.embed_tokens";
        if (Part.HasEmbedding)
            _embedding = _loader.Embedding($"{Embedding}.weight", Config.VocabularySize, Config.HiddenSize);
        if (Part.HasHead)
        {
            _finalNorm = _loader.Vector("model.norm.weight", Config.HiddenSize);
            _head = _loader.Head(Config.HiddenSize, Config.TiedEmbeddings ? Embedding : "lm_head", Config.VocabularySize);
        }
        (float[] cosines, float[] sines) = RotaryFrequencies.Tables(Config.Rope, Config.HeadDim, positions);
        _rotary = _ops.LoadRotary(cosines, sines, Config.HeadDim);
        _workspace = new DecoderWorkspace(_ops, Config, Part, maxRows);
        _cache = _ops.AllocateKvCache(cacheShape);
    }

    /// <summary>Loads the next layer.</summary>
    public void LoadLayer() => _layers.Add(new DecoderLayer(_loader, Config, Part.Layers.Start + _layers.Count));

    /// <summary>
    /// Runs this stage's layers over the batch's rows; the residual stream is left in the workspace. With several shards, every rank of the
    /// replica runs the same batch and names its place among them.
    /// </summary>
    public void Forward(DeviceBatch batch, ExecutionPlan plan, ReplicaRanks? ranks = null)
    {
        if (plan is not ExecutionPlan.ExactPlan)
            throw new ArgumentException($"Execution plan {plan.GetType().Name} is not known.", nameof(plan));
        Workspace.Ranks = ranks?.Tensor;
        if (Part.HasEmbedding)
            Embed(batch);
        else
            ranks!.ReceiveHidden(_ops, batch.Batch.Rows, Workspace.Hidden);
        RunLayers(batch);
        if (!Part.HasHead)
            ranks!.SendHidden(_ops, batch.Batch.Rows, Workspace.Hidden);
    }

    private void RunLayers(DeviceBatch batch)
    {
        for (int layer = 0; layer < _layers.Count; layer++)
        {
            Attend(batch, layer);
            _layers[layer].Mlp.Forward(_ops, batch.Batch.Rows, Workspace);
        }
    }

    /// <summary>hidden = embedding rows of the batch's tokens.</summary>
    public void Embed(DeviceBatch batch) => _ops.EmbedRows(batch, _embedding!, Workspace.Hidden);

    /// <summary>hidden += Attention of one layer.</summary>
    public void Attend(DeviceBatch batch, int layer) => _layers[layer].Attention.Forward(_ops, batch, Workspace, _rotary!, _cache!, layer);

    /// <summary>hidden += MLP or experts of one layer.</summary>
    public void Mlp(DeviceBatch batch, int layer) => _layers[layer].Mlp.Forward(_ops, batch.Batch.Rows, Workspace);

    /// <summary>
    /// Logits of up to <see cref="DecoderWorkspace.LogitTile"/> rows of the residual stream, into the first rows of
    /// <see cref="DecoderWorkspace.Logits"/>.
    /// </summary>
    public void ComputeLogits(ReadOnlySpan<int> rows)
    {
        _ops.GatherRows(rows, Workspace.Hidden, Workspace.Selected!);
        _ops.NormLinear(rows.Length, Workspace.Selected!, _finalNorm!, Config.NormEpsilon, _head!, Workspace.Logits!);
    }

    /// <summary>Applies the final norm to rows [0, rows) of the residual stream into <paramref name="output"/>.</summary>
    public void FinalNorm(int rows, DeviceBuffer output) => _ops.RmsNorm(rows, Workspace.Hidden, _finalNorm!, Config.NormEpsilon, output);

    /// <inheritdoc/>
    public void Dispose()
    {
        _layers.ForEach(layer => layer.Dispose());
        _embedding?.Dispose();
        _rotary?.Dispose();
        _finalNorm?.Dispose();
        _head?.Dispose();
        _workspace?.Dispose();
        _cache?.Dispose();
    }
}
