using System.Net.Sockets;

namespace Cluster.Kernels.Collectives;

/// <summary>A rank that is on its way into a group: the connections so far.</summary>
internal sealed class TcpJoin(TcpGroupSpec spec, int rank, int connections)
{
    private readonly Lock _gate = new();
    private readonly Socket?[] _sockets = new Socket?[spec.Members.Count * connections];
    private readonly TaskCompletionSource _complete = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _missing = (spec.Members.Count - 1) * connections;
    private bool _closed;

    public TcpGroupSpec Spec { get; } = spec;

    public int Rank { get; } = rank;

    /// <summary>Connections per pair of ranks, the control connection first.</summary>
    public int Connections { get; } = connections;

    /// <summary>Ends when every connection is there, or with the first refusal.</summary>
    public Task Completion => _complete.Task;

    /// <summary>First peer that is not connected; -1 when all are.</summary>
    public int FirstMissing
    {
        get
        {
            lock (_gate)
            {
                int index = Enumerable.Range(0, _sockets.Length).FirstOrDefault(i => i / Connections != Rank && _sockets[i] is null, -1);
                return index < 0 ? -1 : index / Connections;
            }
        }
    }

    /// <summary>Connections to a peer.</summary>
    public Socket[] Sockets(int peer) => [.. _sockets.AsSpan(peer * Connections, Connections)!];

    /// <summary>Takes a connection; false when it is not wanted any more.</summary>
    public bool TryAdd(int peer, int connection, Socket socket)
    {
        lock (_gate)
        {
            ref Socket? place = ref _sockets[(peer * Connections) + connection];
            if (_closed || place is not null)
                return false;
            place = socket;
            if (--_missing == 0)
                _complete.TrySetResult();
            return true;
        }
    }

    /// <summary>Nothing to wait for.</summary>
    public void CompleteAlone() => _complete.TrySetResult();

    public void Fail(Exception e) => _complete.TrySetException(e);

    /// <summary>Gives up: closes what was connected.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _closed = true;
            foreach (Socket? socket in _sockets)
                socket?.Dispose();
        }
    }
}
