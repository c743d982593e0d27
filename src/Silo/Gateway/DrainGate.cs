namespace Cluster.Silo.Gateway;

/// <summary>
/// Counts the generations in progress, so that a stopping silo refuses new ones, waits for the running ones and cuts what
/// has not ended at the deadline.
/// </summary>
internal sealed class DrainGate : IDisposable
{
    private readonly Lock _lock = new();
    private readonly TaskCompletionSource _idle = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _deadline = new();
    private int _running;
    private bool _closed;

    /// <summary>Whether new generations are refused.</summary>
    public bool IsClosed
    {
        get
        {
            lock (_lock)
                return _closed;
        }
    }

    /// <summary>Generations in progress.</summary>
    public int Running
    {
        get
        {
            lock (_lock)
                return _running;
        }
    }

    /// <summary>Fires when generations must end at once.</summary>
    public CancellationToken Deadline => _deadline.Token;

    /// <summary>Enters, unless closed.</summary>
    public bool TryEnter()
    {
        lock (_lock)
        {
            if (_closed)
                return false;
            _running++;
            return true;
        }
    }

    /// <summary>Leaves.</summary>
    public void Leave()
    {
        lock (_lock)
        {
            _running--;
            if (_closed && _running == 0)
                _idle.TrySetResult();
        }
    }

    /// <summary>Refuses new generations; the task ends when the running ones have ended.</summary>
    public Task Close()
    {
        lock (_lock)
        {
            _closed = true;
            if (_running == 0)
                _idle.TrySetResult();
        }
        return _idle.Task;
    }

    /// <summary>Cuts what still runs.</summary>
    public void Cut() => _deadline.Cancel();

    /// <inheritdoc/>
    public void Dispose() => _deadline.Dispose();
}
