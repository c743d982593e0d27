using System.Globalization;
using System.Runtime.InteropServices;
using Cluster.Kernels.Collectives;

namespace Cluster.Kernels.Execution;

/// <summary>
/// All shards of a replica, seen from one of them, in one epoch. Rank = stage * tensor ranks + tensor rank. A stage hands its
/// residual stream to the same tensor rank of the next one; results come from tensor rank 0 of the last stage.
/// </summary>
internal sealed class ReplicaRanks
{
    private readonly IProcessGroup _group;
    private readonly int _tensorSize;
    private readonly bool _isFirst;
    private readonly bool _isLast;
    private readonly ulong[] _digest = new ulong[1];

    /// <param name="spec">The shard.</param>
    /// <param name="group">The replica's group in this epoch. It stays its opener's to close.</param>
    /// <exception cref="ShardSpecException">The group is another size, or this shard has another rank in it.</exception>
    public ReplicaRanks(ShardSpec spec, IProcessGroup group)
    {
        _tensorSize = spec.TensorParallel.Size;
        (_isFirst, _isLast) = (spec.Pipeline.Stage == 0, spec.Pipeline.Stage == spec.Pipeline.Size - 1);
        Expect("Group.Size", group.Size, _tensorSize * spec.Pipeline.Size);
        int first = spec.Pipeline.Stage * _tensorSize;
        Expect("Group.Rank", group.Rank, first + spec.TensorParallel.Rank);
        _group = group;
        if (_tensorSize > 1)
            Tensor = new TensorRanks(_tensorSize == group.Size ? group : group.Subgroup([.. Enumerable.Range(first, _tensorSize)]));
    }

    /// <summary>The tensor ranks of this stage; null if there is one.</summary>
    public TensorRanks? Tensor { get; }

    /// <summary>Takes rows [0, rows) of the residual stream from the stage before.</summary>
    public void ReceiveHidden(IDeviceOps ops, int rows, DeviceBuffer hidden)
    {
        _group.Receive(_group.Rank - _tensorSize, MemoryMarshal.AsBytes(ops.HostRows(hidden, rows)), ShardTraffic.Hidden);
        ops.StoreHostRows(hidden, rows);
    }

    /// <summary>Hands rows [0, rows) of the residual stream to the next stage, without waiting for its work.</summary>
    public void SendHidden(IDeviceOps ops, int rows, DeviceBuffer hidden) =>
        _group.Send(_group.Rank + _tensorSize, MemoryMarshal.AsBytes(ops.HostRows(hidden, rows)), ShardTraffic.Hidden);

    /// <summary>Begins a step, unless the group is broken or the ranks do not mean the same one.</summary>
    /// <exception cref="ProcessGroupException">The group has failed.</exception>
    /// <exception cref="InvalidOperationException">Shards of the replica run different steps.</exception>
    public void Begin(ForwardBatch batch)
    {
        if (_group.Failure is { } failure)
            throw failure;
        ulong digest = StepDigest.Of(batch);
        if (!_isFirst)
        {
            _group.Receive<ulong>(_group.Rank - _tensorSize, _digest.AsSpan(), ShardTraffic.StepDigest);
            if (_digest[0] != digest)
                throw new InvalidOperationException($"Ranks {_group.Rank - _tensorSize} and {_group.Rank} run different steps ({_digest[0]:x16} and {digest:x16}): all shards of a replica need the same batches in the same order.");
        }
        _digest[0] = digest;
        if (!_isLast)
            _group.Send<ulong>(_group.Rank + _tensorSize, _digest, ShardTraffic.StepDigest);
        Tensor?.Agree(digest);
    }

    /// <summary>This rank cannot go on with its step: the others, who may wait for it, shall fail as well.</summary>
    public void Abort(Exception cause)
    {
        if (cause is not ProcessGroupException)
            _group.Abort($"a step failed on rank {_group.Rank}: {cause.Message}");
    }

    private static void Expect(string field, int actual, int expected)
    {
        if (actual != expected)
            throw new ShardSpecException(field, $"{expected}: the shard's place among tensor ranks and stages", actual.ToString(CultureInfo.InvariantCulture));
    }
}
