namespace Cluster.Kernels.Collectives;

/// <summary>
/// What a group and its subgroups fail as one by. The first failure stays; every failure of a rank is told in terms of it. Who may sleep
/// in an operation registers how it is woken.
/// </summary>
internal sealed class GroupFailure
{
    private readonly Lock _gate = new();
    private readonly List<Action> _wakes = [];
    private readonly CancellationTokenSource _failed = new();
    private volatile Record? _first;

    /// <summary>Whether the group has failed.</summary>
    public bool IsFailed => _first is not null;

    /// <summary>The first failure.</summary>
    public Record? First => _first;

    /// <summary>Is cancelled after the failure is recorded and everybody is woken.</summary>
    public CancellationToken Token => _failed.Token;

    /// <summary>Calls <paramref name="wake"/> when the group fails; at once when it has failed.</summary>
    public void OnFailure(Action wake)
    {
        lock (_gate)
        {
            if (_first is null)
            {
                _wakes.Add(wake);
                return;
            }
        }

        wake();
    }

    /// <summary>Records the failure unless there is one already, and wakes everybody.</summary>
    public bool Fail(ProcessGroupFault cause, int peer, string reason, Exception? inner = null)
    {
        Action[] wakes;
        lock (_gate)
        {
            if (_first is not null)
                return false;
            _first = new Record(cause, peer, reason, inner);
            wakes = [.. _wakes];
            _wakes.Clear();
        }

        foreach (Action wake in wakes)
            wake();
        // Whoever watches the token runs its own code: never on a thread that only wanted to report.
        ThreadPool.UnsafeQueueUserWorkItem(static failed => failed.Cancel(), _failed, preferLocal: false);
        return true;
    }

    /// <summary>Fails as another group does, but for one cause.</summary>
    public void FailWith(GroupFailure other, ProcessGroupFault? except = null) => other.OnFailure(() =>
    {
        Record first = other.First!;
        if (first.Cause != except)
            Fail(first.Cause, first.Peer, first.Reason, first.Inner);
    });

    /// <summary>The failure as a rank sees it in an operation.</summary>
    public ProcessGroupException AsSeenBy(int rank, CollectiveOp operation, int tag)
    {
        Record first = _first ?? throw new InvalidOperationException($"Rank {rank}: the group has not failed.");
        return new ProcessGroupException(rank, first.Peer, operation, tag, first.Cause, first.Reason, first.Inner);
    }

    /// <summary>One failure; the peer is counted in the outermost group.</summary>
    public sealed record Record(ProcessGroupFault Cause, int Peer, string Reason, Exception? Inner);
}
