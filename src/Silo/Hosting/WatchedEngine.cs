using Cluster.Kernels.Collectives;
using Cluster.Kernels.Execution;

namespace Cluster.Silo.Hosting;

/// <summary>An engine that remembers since when its steps are waited for: readiness asks for recent forward progress.</summary>
internal sealed class WatchedEngine(IShardEngine engine, TimeProvider time) : IShardEngine
{
    private readonly Lock _lock = new();
    private int _running;
    private long _lastProgress;

    /// <inheritdoc/>
    public ShardSpec Spec => engine.Spec;

    /// <inheritdoc/>
    public int BlockCount => engine.BlockCount;

    /// <inheritdoc/>
    public int BlockSize => engine.BlockSize;

    /// <summary>How long steps have been under way without one ending; zero while there is no work.</summary>
    public TimeSpan Stalled
    {
        get
        {
            lock (_lock)
                return _running == 0 ? TimeSpan.Zero : time.GetElapsedTime(_lastProgress);
        }
    }

    /// <inheritdoc/>
    public void Join(IProcessGroup? group) => engine.Join(group);

    /// <inheritdoc/>
    public async Task<ForwardOutput> ExecuteAsync(ForwardBatch batch)
    {
        Count(1);
        try
        {
            return await engine.ExecuteAsync(batch);
        }
        finally
        {
            Count(-1);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => engine.DisposeAsync();

    private void Count(int change)
    {
        lock (_lock)
        {
            // A step that joins others is no progress; the first one and every ended one is.
            if (_running == 0 || change < 0)
                _lastProgress = time.GetTimestamp();
            _running += change;
        }
    }
}
