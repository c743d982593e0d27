using System.Globalization;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// A process group failed: all its operations, on every rank and in every subgroup, fail from now on. What the failing
/// operation was to write is undefined; a step that meets this fails as a whole.
/// </summary>
public sealed class ProcessGroupException : Exception
{
    internal ProcessGroupException(int rank, int peer, CollectiveOp operation, int tag, ProcessGroupFault cause, string reason, Exception? inner = null)
        : base(Describe(rank, peer, operation, tag, cause, reason), inner)
    {
        Rank = rank;
        Peer = peer;
        Operation = operation;
        Tag = tag;
        Cause = cause;
        Reason = reason;
    }

    /// <summary>The rank (of the group that throws) that sees the failure.</summary>
    public int Rank { get; }

    /// <summary>The rank at fault, counted in the outermost group; -1 when no single one is.</summary>
    public int Peer { get; }

    /// <summary>The operation that this rank was in.</summary>
    public CollectiveOp Operation { get; }

    /// <summary>Its tag; -1 outside of an operation.</summary>
    public int Tag { get; }

    /// <summary>What happened first.</summary>
    public ProcessGroupFault Cause { get; }

    /// <summary>What happened first, in words, without this rank's own operation.</summary>
    public string Reason { get; }

    private static string Describe(int rank, int peer, CollectiveOp operation, int tag, ProcessGroupFault cause, string reason)
    {
        string where = operation == CollectiveOp.None ? "" : string.Create(CultureInfo.InvariantCulture, $" in {operation} tag {tag}");
        string who = peer < 0 ? "" : string.Create(CultureInfo.InvariantCulture, $" (peer {peer})");
        return string.Create(CultureInfo.InvariantCulture, $"Process group failed on rank {rank}{where}: {cause}{who}: {reason}");
    }
}
