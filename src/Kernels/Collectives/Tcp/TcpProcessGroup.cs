using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// A rank that talks to the others through sockets. Every operation is one exchange, or two: the rank's thread gives each peer its frame and takes
/// each peer's frame, reading and writing as the sockets allow, so that no order of ranks can block another. Sums are made by the rank that
/// owns the result, from all contributions, in the one tree.
/// </summary>
internal sealed unsafe class TcpProcessGroup : ProcessGroup
{
    // One round of whole copies beats two of slices as long as the copies cost less than a round trip.
    private const long WholeBytes = 64 << 10;
    private const ulong OutermostChannel = 0;

    private readonly TcpCore _core;
    private readonly int[] _rootRanks;
    private readonly ulong _channel;
    private readonly TcpExchange _exchange;
    private readonly Dictionary<string, int> _subgroups = [];
    private byte[] _scratch = [];

    /// <summary>The outermost group.</summary>
    public TcpProcessGroup(TcpCore core)
        : this(core, [.. Enumerable.Range(0, core.Peers.Length)], core.Rank, OutermostChannel)
    {
    }

    private TcpProcessGroup(TcpCore core, int[] rootRanks, int rank, ulong channel)
        : base(rank, rootRanks.Length, core.Spec.Epoch, core.Failure, core.Options.Group, isSubgroup: channel != OutermostChannel)
    {
        _core = core;
        _rootRanks = rootRanks;
        _channel = channel;
        _exchange = new TcpExchange(core, rootRanks, rank, channel);
    }

    protected override int RootRank => _core.Rank;

    protected override void Leave() => _core.Leave();

    protected override LedgerEntry Run(ref RankCall call)
    {
        _core.SetInOperation(true);
        try
        {
            return call.Operation switch
            {
                CollectiveOp.AllReduce => AllReduce(ref call),
                CollectiveOp.ReduceScatter => ReduceScatter(ref call),
                CollectiveOp.AllGather => AllGather(ref call),
                CollectiveOp.AllToAll => AllToAll(ref call),
                CollectiveOp.Broadcast => Broadcast(ref call),
                CollectiveOp.Send => Send(ref call),
                CollectiveOp.Receive => Receive(ref call),
                _ => Barrier(ref call),
            };
        }
        catch (Exception e)
        {
            // Nobody reads or writes the caller's memory from here on.
            _exchange.Abandon(e);
            if (e is ProcessGroupException)
                throw;
            throw Faults.AsSeenBy(Rank, call.Operation, call.Tag);
        }
        finally
        {
            _core.SetInOperation(false);
        }
    }

    protected override IProcessGroup CreateSubgroup(int[] ranks, int rank)
    {
        int[] rootRanks = [.. ranks.Select(member => _rootRanks[member])];
        string key = string.Join(',', rootRanks);
        int ordinal = _subgroups.GetValueOrDefault(key);
        _subgroups[key] = ordinal + 1;
        string name = string.Create(CultureInfo.InvariantCulture, $"{_channel:x}:{ordinal}:{key}");
        return _core.LocalHubFor(rootRanks, name) is { } hub
            ? new LocalProcessGroup(hub, rank, Epoch, Options, isSubgroup: true)
            : new TcpProcessGroup(_core, rootRanks, rank, Hash(name));
    }

    private LedgerEntry AllReduce(ref RankCall call)
    {
        int length = (int)(call.InputBytes / sizeof(float));
        if (call.InputBytes * (Size - 1) <= WholeBytes)
            return AllReduceWhole(ref call, length);
        int own = RankSlices.Start(length, Size, Rank), count = RankSlices.Count(length, Size, Rank);
        byte* scratch = Scratch(4L * count * (Size - 1));
        for (int peer = 0; peer < Size; peer++)
        {
            _exchange.Give(peer, call.Input + (4L * RankSlices.Start(length, Size, peer)), 4L * RankSlices.Count(length, Size, peer));
            _exchange.Take(peer, scratch + (4L * count * Place(peer)), 4L * count);
        }

        _exchange.Run(ref call);
        Sum((float*)call.Input + own, (float*)scratch, (float*)call.Output + own, count);
        for (int peer = 0; peer < Size; peer++)
        {
            _exchange.Give(peer, call.Output + (4L * own), 4L * count);
            _exchange.Take(peer, call.Output + (4L * RankSlices.Start(length, Size, peer)), 4L * RankSlices.Count(length, Size, peer));
        }

        _exchange.Run(ref call);
        return Ledgers.AllReduceInSlices(length, Size, Rank);
    }

    private LedgerEntry AllReduceWhole(ref RankCall call, int length)
    {
        byte* scratch = Scratch(call.InputBytes * (Size - 1));
        for (int peer = 0; peer < Size; peer++)
        {
            _exchange.Give(peer, call.Input, call.InputBytes);
            _exchange.Take(peer, scratch + (call.InputBytes * Place(peer)), call.InputBytes);
        }

        _exchange.Run(ref call);
        Sum((float*)call.Input, (float*)scratch, (float*)call.Output, length);
        return Ledgers.AllReduceWhole(length, Size);
    }

    private LedgerEntry ReduceScatter(ref RankCall call)
    {
        long bytes = 4L * call.SendCounts[Rank], start = 0;
        byte* scratch = Scratch(bytes * (Size - 1)), own = null;
        for (int peer = 0; peer < Size; peer++)
        {
            if (peer == Rank)
                own = call.Input + start;
            _exchange.Give(peer, call.Input + start, 4L * call.SendCounts[peer]);
            _exchange.Take(peer, scratch + (bytes * Place(peer)), bytes);
            start += 4L * call.SendCounts[peer];
        }

        _exchange.Run(ref call);
        Sum((float*)own, (float*)scratch, (float*)call.Output, call.SendCounts[Rank]);
        return Ledgers.ReduceScatter(call, Size, Rank);
    }

    private LedgerEntry AllGather(ref RankCall call)
    {
        long start = 0;
        for (int peer = 0; peer < Size; peer++)
        {
            if (peer == Rank && call.Output + start != call.Input)
                Buffer.MemoryCopy(call.Input, call.Output + start, call.InputBytes, call.InputBytes);
            _exchange.Give(peer, call.Input, call.InputBytes);
            _exchange.Take(peer, call.Output + start, call.ReceiveCounts[peer]);
            start += call.ReceiveCounts[peer];
        }

        _exchange.Run(ref call);
        return Ledgers.AllGather(call, Size, Rank);
    }

    private LedgerEntry AllToAll(ref RankCall call)
    {
        long from = 0, to = 0;
        for (int peer = 0; peer < Size; peer++)
        {
            if (peer == Rank)
                Buffer.MemoryCopy(call.Input + from, call.Output + to, call.SendCounts[peer], call.SendCounts[peer]);
            _exchange.Give(peer, call.Input + from, call.SendCounts[peer]);
            _exchange.Take(peer, call.Output + to, call.ReceiveCounts[peer]);
            from += call.SendCounts[peer];
            to += call.ReceiveCounts[peer];
        }

        _exchange.Run(ref call);
        return Ledgers.AllToAll(call, Rank);
    }

    private LedgerEntry Broadcast(ref RankCall call)
    {
        for (int peer = 0; peer < Size; peer++)
        {
            if (call.Peer == Rank)
                _exchange.Give(peer, call.Input, call.InputBytes);
            else if (peer == call.Peer)
                _exchange.Take(peer, call.Output, call.OutputBytes);
        }

        _exchange.Run(ref call);
        return Ledgers.Broadcast(call, Size, Rank);
    }

    private LedgerEntry Barrier(ref RankCall call)
    {
        for (int peer = 0; peer < Size; peer++)
        {
            _exchange.Give(peer, null, 0);
            _exchange.Take(peer, null, 0);
        }

        _exchange.Run(ref call);
        return new LedgerEntry(1, 1, 0, 0);
    }

    private LedgerEntry Send(ref RankCall call)
    {
        _exchange.Send(ref call);
        return new LedgerEntry(1, 1, call.InputBytes, 0);
    }

    private LedgerEntry Receive(ref RankCall call)
    {
        _exchange.Receive(ref call);
        return new LedgerEntry(1, 1, 0, call.OutputBytes);
    }

    // Contributions of the others lie one after the other, this rank's own where it is.
    private int Place(int peer) => peer < Rank ? peer : peer - 1;

    private void Sum(float* own, float* others, float* destination, int count)
    {
        float** sources = stackalloc float*[Size];
        for (int peer = 0; peer < Size; peer++)
            sources[peer] = peer == Rank ? own : others + ((long)count * Place(peer));
        TreeSum.Add(sources, Size, destination, count);
    }

    private byte* Scratch(long bytes)
    {
        if (_scratch.Length < bytes)
            _scratch = GC.AllocateUninitializedArray<byte>(checked((int)bytes), pinned: true);
        return (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(_scratch, 0);
    }

    // FNV-1a: names are few, and a collision would have to meet in one group.
    private static ulong Hash(string name)
    {
        ulong hash = 14695981039346656037;
        foreach (byte value in Encoding.UTF8.GetBytes(name))
            hash = (hash ^ value) * 1099511628211;
        return hash;
    }
}
