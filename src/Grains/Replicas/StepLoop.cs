using System.Diagnostics;
using Cluster.Contracts;
using Cluster.Grains.Decoding;
using Cluster.Grains.Scheduling;
using Cluster.Grains.Shards;
using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Replicas;

/// <summary>
/// The heart of a replica: schedule, send to the shards, commit, report; for as long as there is work. Runs on the grain's
/// activation, where calls interleave at its awaits, so nothing here needs a lock. What a step gave is reported while the
/// next step is on the device.
/// </summary>
internal sealed partial class StepLoop
{
    private readonly string _replicaKey;
    private readonly IGrainFactory _grains;
    private readonly ShardHost _host;
    private readonly ClusterOptions _options;
    private readonly ReplicaRecorder _recorder;
    private readonly LoadReporter _reporter;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly List<News> _news = [];
    private readonly List<ActiveGroup> _marked = [];
    private readonly HashSet<ActiveGroup> _groups = [];
    private ReplicaShards? _shards;
    private Scheduler? _scheduler;
    private readonly Queue<Flight> _flights = new();
    private int _nextId;
    private bool _isRunning;

    /// <summary>A loop that has not opened its replica yet.</summary>
    public StepLoop(
        string replicaKey, IGrainFactory grains, ShardHost host, IProposerFactory proposers, ClusterOptions options, ClusterMetrics metrics, TimeProvider time, ILogger logger)
    {
        int slash = replicaKey.LastIndexOf('/');
        string model = replicaKey[..Math.Max(0, slash)];
        _replicaKey = replicaKey;
        _grains = grains;
        _host = host;
        _proposers = proposers;
        _options = options;
        _time = time;
        _logger = logger;
        _recorder = new ReplicaRecorder(metrics, time, model, replicaKey[(slash + 1)..]);
        _reporter = new LoadReporter(replicaKey, model, grains, metrics, time, logger);
    }

    /// <summary>Queues a group; opens the replica if this is its first use.</summary>
    /// <exception cref="RequestRejectedException">The queue is full, or a sequence can never fit.</exception>
    public async Task<ActiveGroup> SubmitAsync(SequenceGroup origin)
    {
        while (_scheduler is null)
            await EnsureOpenAsync();
        var group = new ActiveGroup(origin, _nextId, _recorder.Now);
        _nextId += group.Sequences.Count;
        var toSchedule = new List<ActiveSequence>(group.Sequences.Count);
        foreach (ActiveSequence sequence in group.Sequences)
        {
            if (sequence.End is null)
                toSchedule.Add(sequence);
            else
                sequence.State = SequenceState.Finished;
        }

        Admit(toSchedule);
        _groups.Add(group);
        foreach (ActiveSequence sequence in group.Sequences)
        {
            if (sequence.End is not null)
                group.Mark(sequence);
        }

        group.Deliver();
        Start();
        return group;
    }

    /// <summary>The reader of a group is gone: whatever of it is still live ends, its blocks are free at once.</summary>
    public void Leave(ActiveGroup group)
    {
        _groups.Remove(group);
        Cancel(group);
    }

    /// <summary>Ends one sequence of a session; its blocks are free at once.</summary>
    public void Drop(string sessionId, int choice)
    {
        foreach (ActiveGroup group in _groups)
        {
            if (group.Origin.SessionId == sessionId && group.Drop(choice) is { } dropped)
                _scheduler?.Cancel(dropped);
        }
    }

    private void Cancel(ActiveGroup group)
    {
        foreach (ActiveSequence sequence in group.Sequences)
            _scheduler?.Cancel(sequence);
    }

    /// <summary>Load now.</summary>
    public ReplicaLoad Load() => _scheduler is not { } scheduler
        ? new ReplicaLoad { Ready = !_isGivenUp } // Closed: it opens when it is asked.
        : new ReplicaLoad
        {
            Running = scheduler.RunningCount,
            Waiting = scheduler.WaitingCount,
            KvUsage = (double)scheduler.Blocks.UsedCount / scheduler.Blocks.Capacity,
            Blocks = scheduler.Blocks.Capacity,
            GeneratedTokens = _recorder.GeneratedTokens,
            Ready = MakesProgress,
            Speculation = _speculation?.Load(),
        };

    private void Admit(List<ActiveSequence> sequences)
    {
        int longest = sequences.Count == 0 ? 0 : sequences.Max(sequence => sequence.MaxLength);
        int limit = Math.Min(_shards!.Capacity.MaxModelLength, _scheduler!.Blocks.Capacity * _shards.Capacity.BlockSize);
        switch (longest > _shards.Capacity.MaxModelLength ? QueueAnswer.TooLong : _scheduler.TryAdd(sequences))
        {
            case QueueAnswer.QueueFull:
                _recorder.QueueFull(sequences.Count);
                throw new RequestRejectedException(
                    RejectionReason.Overloaded,
                    $"{_scheduler.WaitingCount} sequences wait and {sequences.Count} more came; the limit is {_options.MaxQueuedRequests}.",
                    retryAfterSeconds: Math.Clamp(_scheduler.WaitingCount / Math.Max(1, _options.MaxNumSeqs), 1, 60));
            case QueueAnswer.TooLong:
                throw new RequestRejectedException(
                    RejectionReason.ContextLengthExceeded,
                    $"Prompt and max_tokens add up to {longest} tokens; model length and KV cache allow {limit}.",
                    "max_tokens");
        }
    }

    private void Start()
    {
        if (_isRunning || _scheduler is not { HasWork: true })
            return;
        _isRunning = true;
        _lastProgress = _recorder.Now;
        RunAsync().Ignore();
    }

    private async Task RunAsync()
    {
        await Task.Yield(); // Groups that come together start together.
        RequestContext.Clear();
        Activity.Current = null; // The loop serves all groups: it is no part of the first one's trace.
        _reporter.Start(Load);
        while (_scheduler is { HasWork: true })
        {
            try
            {
                await StepAsync(_scheduler, _shards!);
                _lastProgress = _recorder.Now;
            }
            catch (Exception failure)
            {
                await RecoverAsync(failure);
            }
        }

        Report();
        _isRunning = false;
        _reporter.Stop(Load);
    }

    // As many steps as there are stages are on their way at once; they end in the order in which they left.
    private async Task StepAsync(Scheduler scheduler, ReplicaShards shards)
    {
        while (_flights.Count < shards.Assignment.Layout.PipelineParallelSize && await ScheduleAsync(scheduler) is { } step)
            Dispatch(scheduler, shards, step);
        if (_scheduler != scheduler)
            return; // Closed while a draft was made.
        if (_flights.Count == 0)
        {
            throw new InvalidOperationException(
                $"Nothing can run: {scheduler.RunningCount} running, {scheduler.WaitingCount} waiting, {scheduler.Blocks.AvailableCount} blocks left.");
        }

        Report();
        Flight flight = _flights.Peek();
        using Activity? activity = ClusterMetrics.Activities.StartActivity("replica.step", ActivityKind.Internal, default(ActivityContext), startTime: flight.StartTime);
        activity?.SetTag("step", flight.Step.Number).SetTag("sequences", flight.Step.RowList.Count).SetTag("tokens", flight.Step.TokenCount);
        StepResult result = await flight.Execution;
        NoteStep(flight);
        Commit(scheduler, flight.Step, result);
        if (_flights.Count > 0)
            _flights.Dequeue();
    }

    private void Dispatch(Scheduler scheduler, ReplicaShards shards, SchedulerStep step)
    {
        DateTimeOffset start = ClusterMetrics.Activities.HasListeners() ? _time.GetUtcNow() : default;
        _flights.Enqueue(new Flight(step, shards.ExecuteAsync(StepPlanBuilder.Build(step, shards.Assignment.Epoch)), start, _recorder.Now));
        _recorder.StepStarted(step, scheduler);
    }

    private void Commit(Scheduler scheduler, SchedulerStep step, StepResult result)
    {
        long now = _recorder.Now;
        Span<int> drawn = stackalloc int[1 + SpeculativeConfig.MaxTokens];
        for (int i = 0; i < step.RowList.Count; i++)
        {
            ScheduledRows rows = step.RowList[i];
            var sequence = (ActiveSequence)rows.Sequence;
            SequenceOutput output = result.Outputs[i];
            if (output.Id != sequence.Id || output.Tokens.Length > drawn.Length)
                throw new ShardFailedException($"Step {step.Number} answers {output.Tokens.Length} tokens for sequence {output.Id}, not for {sequence.Id}.");
            for (int t = 0; t < output.Tokens.Length; t++)
                drawn[t] = output.Tokens[t].Token;
            Advance advance = CoupledDecoding.After(rows, drawn[..output.Tokens.Length], sequence.Group.Origin.StopTokens.AsSpan());
            NoteVerified(sequence, rows, advance);
            if (scheduler.Commit(step, i, drawn[..advance.Emitted], advance.Retained, advance.End is not null)
                && sequence.Take(rows, output, advance))
                _news.Add(new News(sequence, advance.Emitted, now));
        }

        scheduler.Complete(step);
        if (scheduler.IsolateSequences)
            Isolate(scheduler);
    }

    private void Report()
    {
        foreach (News news in _news)
        {
            _recorder.Advanced(news.Sequence, news.Tokens, news.At);
            // While a draft was made, a reader that lags may have taken these news with older ones.
            if (news.Sequence.HasNews && news.Sequence.Group.Mark(news.Sequence))
                _marked.Add(news.Sequence.Group);
        }

        foreach (ActiveGroup group in _marked)
            group.Deliver();
        _news.Clear();
        _marked.Clear();
    }

    private readonly record struct Flight(SchedulerStep Step, Task<StepResult> Execution, DateTimeOffset StartTime, long SentAt);

    private readonly record struct News(ActiveSequence Sequence, int Tokens, long At);
}
