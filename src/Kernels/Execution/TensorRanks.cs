using System.Runtime.InteropServices;
using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Execution;

/// <summary>The tensor ranks of one stage, seen from one of them, in one epoch.</summary>
/// <param name="group">All ranks of the stage.</param>
internal sealed class TensorRanks(IProcessGroup group)
{
    private readonly ulong[] _digests = new ulong[group.Size];
    private readonly ulong[] _own = new ulong[1];

    /// <summary>This rank.</summary>
    public int Rank => group.Rank;

    /// <summary>Number of ranks.</summary>
    public int Size => group.Size;

    /// <summary>What this rank moved between the tensor ranks.</summary>
    public CommunicationLedger Ledger => group.Ledger;

    /// <summary>Makes sure that all ranks run the same step.</summary>
    /// <exception cref="InvalidOperationException">They do not.</exception>
    public void Agree(ulong digest)
    {
        _own[0] = digest;
        group.AllGather<ulong>(_own, _digests.AsSpan(), ShardTraffic.StepDigest);
        for (int rank = 0; rank < _digests.Length; rank++)
        {
            if (_digests[rank] != digest)
                throw new InvalidOperationException($"Tensor ranks {Rank} and {rank} run different steps ({digest:x16} and {_digests[rank]:x16}): all shards of a replica need the same batches in the same order.");
        }
    }

    /// <summary>Rows [0, rows) = their sum over the ranks, in the order of the tree that sums the segments of K.</summary>
    public void Sum(IDeviceOps ops, int rows, DeviceBuffer buffer, int tag)
    {
        group.AllReduce(ops.HostRows(buffer, rows), tag);
        ops.StoreHostRows(buffer, rows);
    }

    /// <summary>Hands values to rank 0.</summary>
    public void Send<T>(ReadOnlySpan<T> values, int tag) where T : struct => group.Send(0, MemoryMarshal.AsBytes(values), tag);

    /// <summary>Takes what a rank handed over.</summary>
    public void Receive<T>(int rank, Span<T> values, int tag) where T : struct => group.Receive(rank, MemoryMarshal.AsBytes(values), tag);
}
