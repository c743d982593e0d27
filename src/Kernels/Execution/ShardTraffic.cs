namespace Cluster.Kernels.Execution;

/// <summary>Tags under which the shards of a replica exchange tensors: the byte ledger of a group counts by them.</summary>
public static class ShardTraffic
{
    /// <summary>Sum of the attention outputs over the tensor ranks, once per layer: [rows, hidden] fp32.</summary>
    public const int AttentionSum = 1;

    /// <summary>Sum of the MLP outputs over the tensor ranks, once per dense layer: [rows, hidden] fp32.</summary>
    public const int MlpSum = 2;

    /// <summary>Sum of the expert outputs over the tensor ranks, once per expert layer: [rows * chosen experts (+ rows with a shared expert), hidden] fp32.</summary>
    public const int ExpertSum = 3;

    /// <summary>Residual stream from stage to stage: [rows, hidden] fp32.</summary>
    public const int Hidden = 4;

    /// <summary>Best token of each rank's part of the vocabulary, to rank 0 of the last stage: 24 bytes per row.</summary>
    public const int Best = 5;

    /// <summary>Digest of the step, between the tensor ranks of a stage and to the next stage: 8 bytes.</summary>
    public const int StepDigest = 7;

    /// <summary>Logits of each rank's part of the vocabulary, to rank 0 of the last stage: [rows, tokens] fp32.</summary>
    public const int Logits = 6;
}
