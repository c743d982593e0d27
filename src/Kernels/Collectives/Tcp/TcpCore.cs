using System.Globalization;
using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// What a rank's group and its subgroups share: peers and failure. The mesh's thread serves it: reads what peers say about themselves, gives
/// signs of life, pushes messages whose senders did not wait.
/// </summary>
internal sealed class TcpCore
{
    // A peer's connections do not end at the same instant: so long the reason may take to come after the end of the data.
    private static readonly TimeSpan ReasonWait = TimeSpan.FromMilliseconds(100);
    // A rank that leaves in good order must not take others out of an operation that does not need it any more.
    private const long LeaveMilliseconds = 100;
    private const long LeaveInOperationMilliseconds = 400;

    private readonly TcpMesh _mesh;
    private readonly long _started = Environment.TickCount64;
    private volatile bool _saidBye;
    private volatile bool _inOperation;
    private int _left;

    public TcpCore(TcpMesh mesh, TcpJoin join)
    {
        _mesh = mesh;
        Spec = join.Spec;
        Rank = join.Rank;
        Peers = new TcpPeer?[Spec.Members.Count];
        for (int peer = 0; peer < Peers.Length; peer++)
        {
            if (peer != Rank)
                Peers[peer] = new TcpPeer(peer, join.Sockets(peer), mesh.Options);
        }

        Failure.OnFailure(Announce);
        foreach (TcpPeer? peer in Peers)
            peer?.Control.SendBeat();
    }

    public TcpGroupSpec Spec { get; }

    /// <summary>In the outermost group, as everywhere here.</summary>
    public int Rank { get; }

    /// <summary>By rank; null at this one's.</summary>
    public TcpPeer?[] Peers { get; }

    public GroupFailure Failure { get; } = new();

    public TcpMeshOptions Options => _mesh.Options;

    /// <summary>Whether the rank's thread is inside an operation.</summary>
    public void SetInOperation(bool value) => _inOperation = value;

    /// <summary>What ranks of one process share in a subgroup of theirs alone, or null when some are elsewhere.</summary>
    public LocalHub? LocalHubFor(int[] ranks, string name) =>
        ranks.All(rank => Spec.Members[rank].Equals(Spec.Members[Rank])) ? _mesh.LocalHubFor(this, ranks, name) : null;

    /// <summary>The data connection to a peer has ended, on the rank's thread. Waits a moment for the reason.</summary>
    public void Lost(int peer, Exception e)
    {
        ControlChannel control = Peers[peer]!.Control;
        if (!Failure.IsFailed)
            control.Ended.Wait(ReasonWait);
        if (control.LeftAt != 0)
            Failure.Fail(ProcessGroupFault.Disposed, peer, "the group was disposed");
        else if (!Failure.IsFailed)
            Cut(peer, e);
    }

    /// <summary>A rank leaves: the others see it as disposed.</summary>
    public void Leave()
    {
        if (Interlocked.Exchange(ref _left, 1) != 0)
            return;
        if (!Failure.IsFailed)
        {
            _saidBye = true;
            foreach (TcpPeer? peer in Peers)
                peer?.Control.SendBye();
        }

        Failure.Fail(ProcessGroupFault.Disposed, Rank, "the group was disposed");
        _mesh.Retire(this);
    }

    /// <summary>Reads the control connections.</summary>
    public void ReadControls()
    {
        foreach (TcpPeer? peer in Peers)
        {
            if (peer is not { IsConnected: true })
                continue;
            try
            {
                if (peer.Control.Read() is { } failure)
                    Failure.Fail(failure.Cause, failure.Peer, failure.Reason);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                peer.IsConnected = false;
                if (peer.Control.LeftAt == 0)
                    Cut(peer.Rank, e);
            }

            if (!peer.IsConnected || peer.Control.LeftAt != 0 || Failure.IsFailed)
                peer.Control.Ended.Set();
        }
    }

    /// <summary>Adds the control connections.</summary>
    public void AddControls(List<Socket> sockets)
    {
        foreach (TcpPeer? peer in Peers)
        {
            if (peer is { IsConnected: true })
                sockets.Add(peer.Control.Socket);
        }
    }

    /// <summary>Gives a sign of life, and looks for those of the peers.</summary>
    /// <param name="now">In <see cref="Environment.TickCount64"/>.</param>
    /// <param name="wasFrozen">This process did not run for a while: no peer is to blame.</param>
    public void Beat(long now, bool wasFrozen)
    {
        foreach (TcpPeer? peer in Peers)
        {
            if (peer is null || Failure.IsFailed)
                continue;
            ControlChannel control = peer.Control;
            control.SendBeat();
            if (control.LastHeard == 0 && peer.Receiver.HasHeard)
                control.LastHeard = now;
            if (wasFrozen && control.LastHeard != 0)
                control.LastHeard = now;
            // A peer that still waits for others to join gives no sign yet.
            (long since, TimeSpan limit) = control.LastHeard != 0 ? (control.LastHeard, Options.HeartbeatTimeout) : (_started, Options.JoinTimeout);
            if (control.LeftAt != 0)
            {
                if (now - control.LeftAt >= (_inOperation ? LeaveInOperationMilliseconds : LeaveMilliseconds))
                    Failure.Fail(ProcessGroupFault.Disposed, peer.Rank, "the group was disposed");
            }
            else if (now - since > limit.TotalMilliseconds)
                Failure.Fail(ProcessGroupFault.PeerSilent, peer.Rank, string.Create(CultureInfo.InvariantCulture, $"no sign of life from rank {peer.Rank} at {Spec.Members[peer.Rank]} for {now - since} ms (limit {limit.TotalMilliseconds:F0} ms)"));
        }
    }

    /// <summary>Adds the sockets that messages without a waiting sender wait for.</summary>
    public void AddKept(List<Socket> sockets)
    {
        foreach (TcpPeer? peer in Peers)
        {
            if (peer is { Sender.HasKept: true } && !Failure.IsFailed)
                peer.Sender.AddWaiting(sockets);
        }
    }

    /// <summary>Pushes messages without a waiting sender.</summary>
    public void PushKept()
    {
        foreach (TcpPeer? peer in Peers)
        {
            if (peer is not { Sender.HasKept: true } || Failure.IsFailed)
                continue;
            try
            {
                peer.Sender.Pump();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                if (peer.Control.LeftAt == 0)
                    Cut(peer.Rank, e);
                peer.Sender.Drop();
            }
        }
    }

    /// <summary>Makes the mesh's thread look for kept messages.</summary>
    public void WakeMesh() => _mesh.Wake();

    public void Close()
    {
        foreach (TcpPeer? peer in Peers)
            peer?.Close();
    }

    private void Cut(int peer, Exception e) =>
        Failure.Fail(ProcessGroupFault.PeerLost, peer, $"the connection to rank {peer} at {Spec.Members[peer]} was cut: {e.Message}", e);

    // On whatever thread saw the failure first.
    private void Announce()
    {
        foreach (TcpPeer? peer in Peers)
        {
            if (!_saidBye)
                peer?.Control.SendFailure(Failure.First!);
            peer?.ShutDownData();
        }
    }
}
