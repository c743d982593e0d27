namespace Cluster.Kernels.Collectives;

/// <summary>Why a process group failed. Explicit and append-only: the values travel in frames.</summary>
public enum ProcessGroupFault : byte
{
    /// <summary>A rank called <see cref="IProcessGroup.Abort"/>.</summary>
    Aborted = 1,

    /// <summary>A rank disposed its group.</summary>
    Disposed = 2,

    /// <summary>The connection to a peer was cut, or its process ended.</summary>
    PeerLost = 3,

    /// <summary>A peer gave no sign of life for the allowed time.</summary>
    PeerSilent = 4,

    /// <summary>Ranks called different operations, tags or lengths.</summary>
    Mismatch = 5,

    /// <summary>A peer did not take part within the allowed time.</summary>
    Timeout = 6,

    /// <summary>The other side belongs to another epoch of the group.</summary>
    WrongEpoch = 7,

    /// <summary>The other side does not know the group's secret.</summary>
    WrongSecret = 8,

    /// <summary>No group of that name, rank or size on the other side, or no such endpoint, within the allowed time.</summary>
    Unreachable = 9,

    /// <summary>What came over the connection is not the protocol, or exceeds a buffer's bound.</summary>
    Protocol = 10,
}
