using System.Net;
using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>
/// A process's end of the data plane: one listener for all groups that ranks of this process join. Every pair of ranks has a control
/// connection and one or several data connections. Data connections are used by the ranks' device threads directly (no thread stands between
/// a span and the socket); one thread of the mesh serves all control connections.
/// </summary>
public sealed class TcpMesh : IDisposable
{
    private readonly MeshListener _listener;
    private readonly MeshThread _thread;
    private readonly Lock _gate = new();
    private readonly Dictionary<(string Group, long Epoch, string Name), LocalHub> _hubs = [];
    private int _disposed;

    private TcpMesh(IPEndPoint endPoint, TcpMeshOptions options)
    {
        Options = options;
        _listener = new MeshListener(endPoint, options);
        _thread = new MeshThread(options.HeartbeatTimeout, _listener.Expire);
    }

    /// <summary>Limits.</summary>
    public TcpMeshOptions Options { get; }

    /// <summary>Where this process listens.</summary>
    public IPEndPoint EndPoint => _listener.EndPoint;

    /// <summary>Starts to listen.</summary>
    /// <param name="endPoint">Address and port; port 0 takes a free one.</param>
    /// <param name="options">Limits.</param>
    /// <exception cref="SocketException">The port cannot be had.</exception>
    public static TcpMesh Listen(IPEndPoint endPoint, TcpMeshOptions options)
    {
        ArgumentNullException.ThrowIfNull(endPoint);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.DataConnections, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.StripeBytes, 1);
        return new TcpMesh(endPoint, options);
    }

    /// <summary>Joins a group: ends when this rank is connected with every other.</summary>
    /// <param name="spec">The group; equal on all ranks.</param>
    /// <param name="rank">This rank; its member entry is this mesh.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="ProcessGroupException">A peer refused (<see cref="ProcessGroupFault.WrongEpoch"/>, <see cref="ProcessGroupFault.WrongSecret"/>) or did not come in time (<see cref="ProcessGroupFault.Unreachable"/>).</exception>
    public async Task<IProcessGroup> JoinAsync(TcpGroupSpec spec, int rank, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(spec);
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, spec.Members.Count);
        if (System.Text.Encoding.UTF8.GetByteCount(spec.Name) > Hello.MaxNameBytes)
            throw new ArgumentException($"A group's name must have at most {Hello.MaxNameBytes} bytes of UTF-8, was '{spec.Name}'.", nameof(spec));
        if (spec.Secret.Length < 16)
            throw new ArgumentException($"A group's secret must have at least 16 bytes, had {spec.Secret.Length}.", nameof(spec));
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        var join = new TcpJoin(spec, rank, 1 + Options.DataConnections);
        // Not disposed: dialing threads may look at it a little longer.
        var stop = new CancellationTokenSource();
        _listener.Register(join);
        try
        {
            MeshDialer.Start(join, Options, stop.Token);
            await join.Completion.WaitAsync(Options.JoinTimeout, cancellationToken);
        }
        catch (TimeoutException)
        {
            GiveUp(join);
            int missing = join.FirstMissing;
            throw new ProcessGroupException(rank, missing, CollectiveOp.None, -1, ProcessGroupFault.Unreachable,
                $"rank {missing} at {spec.Members[Math.Max(0, missing)]} did not join group '{spec.Name}' epoch {spec.Epoch} within {Options.JoinTimeout.TotalSeconds} s");
        }
        catch
        {
            GiveUp(join);
            throw;
        }
        finally
        {
            await stop.CancelAsync();
        }

        _listener.Complete(join);
        var core = new TcpCore(this, join);
        _thread.Add(core);
        return new TcpProcessGroup(core);
    }

    /// <summary>Leaves all groups and closes every connection.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _listener.Dispose();
        foreach (TcpCore core in _thread.Cores)
            core.Leave();
        _thread.Dispose();
    }

    internal void Wake() => _thread.Wake();

    internal void Retire(TcpCore core)
    {
        _listener.Forget(core.Spec, core.Rank);
        _thread.Retire(core);
        lock (_gate)
        {
            foreach ((string, long, string) key in _hubs.Keys.Where(key => key.Group == core.Spec.Name && key.Epoch == core.Spec.Epoch).ToArray())
                _hubs.Remove(key);
        }
    }

    internal LocalHub LocalHubFor(TcpCore core, int[] ranks, string name)
    {
        LocalHub? hub;
        lock (_gate)
        {
            (string, long, string) key = (core.Spec.Name, core.Spec.Epoch, name);
            if (!_hubs.TryGetValue(key, out hub))
                _hubs.Add(key, hub = new LocalHub(ranks, Options.Group));
        }

        hub.Failure.FailWith(core.Failure);
        // A rank of this process that leaves in good order says so to each of the others itself.
        core.Failure.FailWith(hub.Failure, except: ProcessGroupFault.Disposed);
        return hub;
    }

    private void GiveUp(TcpJoin join)
    {
        _listener.Forget(join.Spec, join.Rank);
        join.Close();
    }
}
