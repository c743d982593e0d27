using System.Diagnostics;
using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>Moves the frames of one operation: on the rank's thread, spinning a little, then asleep until a socket is ready.</summary>
internal sealed unsafe class TcpExchange(TcpCore core, int[] rootRanks, int rank, ulong channel)
{
    // A peer that takes nothing because it has left shows it on the control connection only.
    private const int LookUpMicroseconds = 50_000;

    private readonly long _spinTicks = (long)(core.Options.Group.Spin.TotalSeconds * Stopwatch.Frequency);
    private readonly Part[] _gives = new Part[rootRanks.Length];
    private readonly Part[] _takes = new Part[rootRanks.Length];
    private readonly List<Socket> _reading = [];
    private readonly List<Socket> _writing = [];
    private RankCall _current;
    private RankCall _previous;
    private long _sequence;
    private int _at;

    /// <summary>The next exchange gives a peer these bytes.</summary>
    public void Give(int peer, byte* data, long bytes) => _gives[peer] = new Part { Data = data, Bytes = bytes, IsOpen = peer != rank };

    /// <summary>The next exchange takes these bytes from a peer.</summary>
    public void Take(int peer, byte* data, long bytes) => _takes[peer] = new Part { Data = data, Bytes = bytes, IsOpen = peer != rank };

    /// <summary>Gives and takes; returns when all is done.</summary>
    public void Run(ref RankCall call)
    {
        _sequence++;
        _previous = _current;
        _current = call;
        // Every rank begins with another peer: they do not all write to the same one.
        for (int step = 1; step < rootRanks.Length; step++)
        {
            _at = (rank + step) % rootRanks.Length;
            ref Part give = ref _gives[_at];
            if (give.IsOpen)
                give.Ticket = Peer(_at).Sender.Begin(Header(ref call, call.Peer, _sequence, give.Bytes), give.Data);
        }

        for (int peer = 0; peer < rootRanks.Length; peer++)
        {
            if (_takes[peer].IsOpen)
                Peer(peer).Receiver.Expect(Header(ref call, call.Peer, _sequence, _takes[peer].Bytes), _takes[peer].Data);
        }

        Await(ref call);
    }

    /// <summary>Gives a message; returns when its memory is free.</summary>
    public void Send(ref RankCall call)
    {
        _at = call.Peer;
        FrameSender sender = Peer(_at).Sender;
        long ticket = sender.Begin(Header(ref call, call.Peer, 0, call.InputBytes), call.Input);
        if (sender.HasEnded(ticket))
            return;
        if (sender.TryKeep(ticket))
        {
            core.WakeMesh();
            return;
        }

        _gives[_at] = new Part { IsOpen = true, Ticket = ticket };
        Await(ref call);
    }

    /// <summary>Takes a message.</summary>
    public void Receive(ref RankCall call)
    {
        FrameHeader header = Header(ref call, rank, 0, call.OutputBytes);
        header.Operation = CollectiveOp.Send;
        header.CallBytes = call.OutputBytes;
        _takes[call.Peer].IsOpen = true;
        Peer(call.Peer).Receiver.Expect(header, call.Output);
        Await(ref call);
    }

    /// <summary>An operation failed: fails the group unless it has, and lets go of the caller's memory.</summary>
    public void Abandon(Exception e)
    {
        int peer = rootRanks[_at];
        if (e is SocketException or ObjectDisposedException)
            core.Lost(peer, e);
        else if (e is InvalidDataException)
            core.Failure.Fail(ProcessGroupFault.Protocol, peer, e.Message, e);
        else
            core.Failure.Fail(ProcessGroupFault.Aborted, core.Rank, e.Message, e);
        foreach (TcpPeer? other in core.Peers)
            other?.Sender.Drop();
    }

    private void Await(ref RankCall call)
    {
        long spinUntil = 0, timeout = (long)core.Options.Group.OperationTimeout.TotalMilliseconds, deadline = 0;
        while (!Pump(ref call, out bool moved))
        {
            if (moved)
            {
                spinUntil = 0;
                continue;
            }

            if (core.Failure.IsFailed)
                throw core.Failure.AsSeenBy(rank, call.Operation, call.Tag);
            if (spinUntil == 0)
            {
                spinUntil = Stopwatch.GetTimestamp() + _spinTicks;
                deadline = Environment.TickCount64 + timeout;
            }
            else if (Stopwatch.GetTimestamp() >= spinUntil)
            {
                if (timeout >= 0 && Environment.TickCount64 >= deadline)
                    throw TimedOut(ref call);
                Park();
            }
        }
    }

    // True when nothing is open any more.
    private bool Pump(ref RankCall call, out bool moved)
    {
        bool done = true;
        moved = false;
        for (int peer = 0; peer < rootRanks.Length; peer++)
        {
            ref Part give = ref _gives[peer];
            ref Part take = ref _takes[peer];
            if (!give.IsOpen && !take.IsOpen)
                continue;
            _at = peer;
            TcpPeer other = Peer(peer);
            if (give.IsOpen)
            {
                moved |= !other.Sender.HasEnded(give.Ticket) && other.Sender.Pump();
                give.IsOpen = !other.Sender.HasEnded(give.Ticket);
            }

            if (take.IsOpen)
            {
                moved |= other.Receiver.Pump();
                if (other.Receiver.Intruder is { } intruder)
                    throw Mismatch(ref call, peer, intruder);
                take.IsOpen = !other.Receiver.IsComplete;
            }

            done &= !give.IsOpen && !take.IsOpen;
        }

        return done;
    }

    private void Park()
    {
        _reading.Clear();
        _writing.Clear();
        for (int peer = 0; peer < rootRanks.Length; peer++)
        {
            if (_takes[peer].IsOpen)
                Peer(peer).Receiver.AddWaiting(_reading);
            if (!_gives[peer].IsOpen)
                continue;
            _at = peer;
            // Nobody reads there any more.
            if (Peer(peer).Control.Ended.IsSet)
                throw new SocketException((int)SocketError.ConnectionReset);
            Peer(peer).Sender.AddWaiting(_writing);
        }

        if (_reading.Count + _writing.Count > 0)
            Socket.Select(_reading, _writing, null, LookUpMicroseconds);
    }

    private TcpPeer Peer(int peer) => core.Peers[rootRanks[peer]]!;

    private FrameHeader Header(ref RankCall call, int peer, long sequence, long bytes) => new()
    {
        Magic = FrameHeader.Mark,
        Operation = call.Operation,
        Tag = (byte)call.Tag,
        Peer = peer,
        Channel = channel,
        Sequence = sequence,
        CallBytes = Math.Max(call.InputBytes, call.OutputBytes),
        PayloadBytes = bytes,
    };

    private ProcessGroupException Mismatch(ref RankCall call, int peer, in FrameHeader theirs)
    {
        // The root of a broadcast waits for nobody: it may learn one exchange later that the others ran something else.
        RankCall mine = theirs.Sequence == _sequence - 1 && theirs.Operation != CollectiveOp.Send ? _previous : call;
        string difference = peer < rank ? RankCall.Differ(theirs.AsCall(), peer, mine, rank) : RankCall.Differ(mine, rank, theirs.AsCall(), peer);
        core.Failure.Fail(ProcessGroupFault.Mismatch, rootRanks[peer], $"{difference} (a frame of {theirs.PayloadBytes} bytes, exchange {theirs.Sequence})");
        return core.Failure.AsSeenBy(rank, call.Operation, call.Tag);
    }

    private ProcessGroupException TimedOut(ref RankCall call)
    {
        int peer = 0;
        while (!_takes[peer].IsOpen && !_gives[peer].IsOpen)
            peer++;
        core.Failure.Fail(ProcessGroupFault.Timeout, rootRanks[peer], $"rank {peer} did not come within {core.Options.Group.OperationTimeout.TotalSeconds} s to {call.Describe()} of rank {rank}");
        return core.Failure.AsSeenBy(rank, call.Operation, call.Tag);
    }

    private struct Part
    {
        public byte* Data;
        public long Bytes;
        public long Ticket;
        public bool IsOpen;
    }
}
