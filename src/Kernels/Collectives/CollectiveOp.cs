namespace Cluster.Kernels.Collectives;

/// <summary>Operations of a process group. Explicit and append-only: the values travel in frames.</summary>
public enum CollectiveOp : byte
{
    /// <summary>No operation: the group itself (set-up, abort).</summary>
    None = 0,

    /// <summary>Sum over ranks, the result on every rank.</summary>
    AllReduce = 1,

    /// <summary>Sum over ranks, a part of the result on each rank.</summary>
    ReduceScatter = 2,

    /// <summary>Every rank's part on every rank.</summary>
    AllGather = 3,

    /// <summary>A part from every rank to every rank.</summary>
    AllToAll = 4,

    /// <summary>One rank's data on every rank.</summary>
    Broadcast = 5,

    /// <summary>Nobody leaves before everybody came.</summary>
    Barrier = 6,

    /// <summary>To one rank.</summary>
    Send = 7,

    /// <summary>From one rank.</summary>
    Receive = 8,
}
