namespace Cluster.Kernels.Collectives;

/// <summary>What a rank's thread waits for. Implemented by structs: a wait allocates nothing.</summary>
internal interface IWaitCondition
{
    /// <summary>Whether the wait is over. Cheap, without side effects that others see.</summary>
    bool IsMet();
}
