using System.Collections.Concurrent;
using System.Diagnostics;
using Cluster.Kernels.Execution;
using Cluster.TestKit;

namespace Cluster.Benchmarks.Scheduling;

/// <summary>A device thread that is occupied for a fixed time per step without using the processor, and notes how long it stood idle in between.</summary>
internal sealed class BusyEngine : IShardEngine, IDisposable
{
    private readonly FakeShardEngine _engine = new(blocks: 20_000, blockSize: 16, maxBatchedTokens: 512, maxSequences: 128, maxModelLength: 4096) { ReadsContext = false };
    private readonly BlockingCollection<(ForwardBatch Batch, TaskCompletionSource<ForwardOutput> Completion)> _work = [];
    private readonly TimeSpan _duration;

    public BusyEngine(TimeSpan duration)
    {
        _duration = duration;
        new Thread(Run) { IsBackground = true, Name = "busy device" }.Start();
    }

    public List<TimeSpan> Gaps { get; } = [];

    public ShardSpec Spec => _engine.Spec;

    public int BlockCount => _engine.BlockCount;

    public int BlockSize => _engine.BlockSize;

    public void Join(Cluster.Kernels.Collectives.IProcessGroup? group) => _engine.Join(group);

    public Task<ForwardOutput> ExecuteAsync(ForwardBatch batch)
    {
        var completion = new TaskCompletionSource<ForwardOutput>(TaskCreationOptions.RunContinuationsAsynchronously);
        _work.Add((batch, completion));
        return completion.Task;
    }

    public void Dispose() => _work.CompleteAdding();

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }

    private void Run()
    {
        long idleSince = Stopwatch.GetTimestamp();
        foreach ((ForwardBatch batch, TaskCompletionSource<ForwardOutput> completion) in _work.GetConsumingEnumerable())
        {
            Gaps.Add(Stopwatch.GetElapsedTime(idleSince));
            Thread.Sleep(_duration);
            ForwardOutput output = _engine.ExecuteAsync(batch).GetAwaiter().GetResult();
            idleSince = Stopwatch.GetTimestamp();
            completion.SetResult(output);
        }
    }
}
