using Cluster.Kernels.Execution;
using TorchSharp;
using static TorchSharp.torch;

namespace Cluster.Kernels.Torch;

/// <summary>
/// A linear weight, widened to fp32. Rows go through the library's product in tiles of fixed height, padded with zeros: MKL picks
/// its kernel by the number of rows, so that a row's last bits would otherwise depend on how many others came with it.
/// </summary>
internal sealed class TorchLinear : LinearWeight
{
    /// <summary>Rows of a tile: the smallest that was stable for every row count and thread count measured.</summary>
    public const int Tile = 16;

    private readonly Tensor _weight;
    private readonly Tensor? _bias;

    public TorchLinear(LinearSource source, Device device) : base(source.Parts.Sum(part => part.Rows), source.Parts[0].Columns)
    {
        _weight = TorchTensors.FromHost(source.Parts, source.Type, device, OutFeatures, InFeatures);
        if (source.Biases.Count == 0)
            return;
        using DisposeScope scope = NewDisposeScope();
        Tensor[] biases = [.. source.Biases.Select(bias => TorchTensors.FromHost([bias], type: null, device, bias.Length))];
        _bias = cat(biases).DetachFromDisposeScope();
        foreach (Tensor bias in biases)
            bias.Dispose();
    }

    /// <summary>input Wᵀ + bias of [rows, inFeatures].</summary>
    public Tensor Apply(Tensor input)
    {
        long rows = input.shape[0], padding = (Tile - rows % Tile) % Tile;
        Tensor padded = padding == 0 ? input : nn.functional.pad(input, [0, 0, 0, padding]);
        Tensor[] tiles = [.. padded.split(Tile).Select(tile => nn.functional.linear(tile, _weight, _bias))];
        return (tiles.Length == 1 ? tiles[0] : cat(tiles)).narrow(0, 0, rows);
    }

    protected override void Free()
    {
        _weight.Dispose();
        _bias?.Dispose();
    }
}

/// <summary>Experts of one layer.</summary>
internal sealed class TorchExperts : ExpertWeights
{
    private readonly TorchLinear[] _gateUp;
    private readonly TorchLinear[] _down;

    public TorchExperts(ExpertSource source, Device device) : base(source.Gate.Count, source.Gate[0].Columns, source.Gate[0].Rows)
    {
        _gateUp = [.. Enumerable.Range(0, Experts).Select(e => new TorchLinear(
            new LinearSource([source.Gate[e], source.Up[e]], [], LinearRole.ColumnParallel, source.Type), device))];
        _down = [.. Enumerable.Range(0, Experts).Select(e => new TorchLinear(
            new LinearSource([source.Down[e]], [], LinearRole.RowParallel, source.Type), device))];
    }

    /// <summary>down(silu(gate x) * up x) of one expert.</summary>
    public Tensor Apply(int expert, Tensor input)
    {
        Tensor gateUp = _gateUp[expert].Apply(input);
        Tensor inner = nn.functional.silu(gateUp.narrow(1, 0, Intermediate)) * gateUp.narrow(1, Intermediate, Intermediate);
        return _down[expert].Apply(inner);
    }

    protected override void Free()
    {
        foreach (TorchLinear weight in _gateUp.Concat(_down))
            weight.Dispose();
    }
}
