namespace Cluster.Kernels.Models;

/// <summary>
/// One layer. Both halves can be called on their own (<c>h += Attention(h)</c>, <c>h += Mlp(h)</c>): drafting, offload
/// and disaggregation recombine them.
/// </summary>
internal sealed class DecoderLayer : IDisposable
{
    public DecoderLayer(WeightLoader loader, ModelConfig config, int layer)
    {
        string prefix = $"model.layers.{layer}";
        LayerSettings settings = config.Layers[layer];
        Attention = new AttentionBlock(loader, config, prefix, settings);
        try
        {
            Mlp = settings.HasExperts ? new MoeLayer(loader, config, config.Experts!, prefix) : new GatedMlp(loader, config, prefix);
        }
        catch
        {
            Attention.Dispose();
            throw;
        }
    }

    /// <summary>First half.</summary>
    public AttentionBlock Attention { get; }

    /// <summary>Second half.</summary>
    public MlpBlock Mlp { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        Attention.Dispose();
        Mlp.Dispose();
    }
}
