using System.Threading.Tasks.Sources;

namespace Cluster.Grains.Delivery;

/// <summary>
/// Items on their way to one reader of the same process. They are posted from any thread and read in that order; a reader
/// that lags finds all that came meanwhile at once, so however many are posted, it is woken once. Nothing is allocated per
/// item or wake-up.
/// </summary>
/// <typeparam name="T">What is delivered.</typeparam>
internal sealed class Inbox<T> : IValueTaskSource
{
    private readonly Lock _gate = new();
    private ManualResetValueTaskSourceCore<bool> _signal = new() { RunContinuationsAsynchronously = true };
    private List<T> _items = [];
    private List<T> _taken = [];
    private Exception? _failure;
    private bool _isAwaited;
    private bool _isComplete;

    /// <summary>Delivers an item; without effect after the end.</summary>
    public void Post(T item)
    {
        lock (_gate)
        {
            if (_isComplete)
                return;
            _items.Add(item);
            if (!_isAwaited)
                return;
            _isAwaited = false;
        }

        _signal.SetResult(true);
    }

    /// <summary>Delivers items together; without effect after the end.</summary>
    public void Post(List<T> items)
    {
        lock (_gate)
        {
            if (_isComplete || items.Count == 0)
                return;
            _items.AddRange(items);
            if (!_isAwaited)
                return;
            _isAwaited = false;
        }

        _signal.SetResult(true);
    }

    /// <summary>Nothing comes any more; the reader gets the failure, if there is one, behind the items.</summary>
    public void Complete(Exception? failure)
    {
        lock (_gate)
        {
            if (_isComplete)
                return;
            (_isComplete, _failure) = (true, failure);
            if (!_isAwaited)
                return;
            _isAwaited = false;
        }

        _signal.SetResult(true);
    }

    /// <summary>Waits until there is something to take or nothing comes any more. One reader at a time.</summary>
    public ValueTask WaitAsync()
    {
        lock (_gate)
        {
            if (_items.Count > 0 || _isComplete)
                return ValueTask.CompletedTask;
            _signal.Reset();
            _isAwaited = true;
            return new ValueTask(this, _signal.Version);
        }
    }

    /// <summary>Takes all items that are there, perhaps none; the list is valid until the next call. False when nothing comes any more.</summary>
    public bool TryTake(out IReadOnlyList<T> items)
    {
        lock (_gate)
        {
            _taken.Clear();
            (_items, _taken) = (_taken, _items);
            items = _taken;
            if (_taken.Count > 0 || !_isComplete)
                return true;
            return _failure is null ? false : throw _failure;
        }
    }

    void IValueTaskSource.GetResult(short token) => _signal.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _signal.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _signal.OnCompleted(continuation, state, token, flags);
}
