using Cluster.Contracts;
using Cluster.Grains.Scheduling;
using Cluster.Grains.Shards;
using Microsoft.Extensions.Logging;

namespace Cluster.Grains.Replicas;

/// <summary>
/// Epochs: a failed step is lost as a whole. The replica asks for a new epoch, and every sequence is computed again from its
/// tokens. When a sequence was in two failed steps without a token in between, sequences run alone for a while, so that only
/// the one that makes steps fail is given up. All are given up when no epoch can be opened for some seconds.
/// </summary>
internal sealed partial class StepLoop
{
    private const int FailuresBeforeIsolation = 2;
    private const int MaxFailuresOfSequence = 3;
    private const int MaxOpenAttempts = 8;
    private static readonly TimeSpan FirstBackoff = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestBackoff = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan LongestStep = TimeSpan.FromSeconds(60);
    private Task? _opening;
    private bool _isGivenUp;
    private long _lastProgress;

    private bool MakesProgress => !_isRunning || _time.GetElapsedTime(_lastProgress) < LongestStep;

    /// <summary>Gives all groups up: the activation goes away.</summary>
    public void Stop(string reason)
    {
        FailAll(new ReplicaFailedException($"Replica {_replicaKey} stops: {reason}"));
        _reporter.Forget();
    }

    /// <summary>Gives all groups back: their sessions go on elsewhere.</summary>
    public void Retire()
    {
        FailAll(new ReplicaUnavailableException($"Replica {_replicaKey} is not planned any more."));
        _reporter.Forget();
    }

    private async Task EnsureOpenAsync()
    {
        Task opening = _opening ??= OpenAsync();
        try
        {
            await opening;
        }
        catch
        {
            _isGivenUp = true; // Until it can be opened.
            throw;
        }
        finally
        {
            if (_opening == opening)
                _opening = null;
        }
    }

    private async Task OpenAsync()
    {
        ReplicaShards shards = await ReplicaShards.OpenAsync(_grains, _host, _replicaKey);
        var scheduler = new Scheduler(OptionsFor(shards));
        List<Sequence> left = [];
        foreach (Sequence sequence in _scheduler?.Sequences() ?? [])
        {
            if (!scheduler.TryRestore(sequence))
                left.Add(sequence);
        }

        ForgetFlights();
        (_scheduler, _shards, _isGivenUp) = (scheduler, shards, false);
        OpenSpeculation(shards.Assignment.Speculation);
        Isolate(scheduler);
        _recorder.EpochOpened();
        foreach (Sequence sequence in left)
            Fail(((ActiveSequence)sequence).Group, new ReplicaFailedException($"Replica {_replicaKey} has only {scheduler.Blocks.Capacity} KV blocks left."));
        LogOpened(_replicaKey, shards.Assignment.Epoch, shards.Assignment.ShardKeys.Length, scheduler.Blocks.Capacity);
    }

    private SchedulerOptions OptionsFor(ReplicaShards shards) => new()
    {
        BlockCount = shards.Capacity.Blocks,
        BlockSize = shards.Capacity.BlockSize,
        MaxTokensPerStep = Math.Min(_options.MaxNumBatchedTokens, shards.Capacity.MaxBatchedTokens),
        MaxSequencesPerStep = Math.Min(_options.MaxNumSeqs, shards.Capacity.MaxSequences),
        MaxStepsInFlight = shards.Assignment.Layout.PipelineParallelSize,
        MaxQueued = _options.MaxQueuedRequests,
        EnablePrefixCache = _options.EnablePrefixCaching,
        CacheSalt = $"{shards.Assignment.Model}|{_options.Dtype}|{_options.KvCacheDtype}",
        DistinguishRoles = shards.Assignment.ShardKeys.Any(key => !ShardKey.Parse(key).Device.StartsWith("cpu", StringComparison.Ordinal)),
    };

    private async Task RecoverAsync(Exception failure)
    {
        LogStepFailed(failure, _replicaKey, _shards!.Assignment.Epoch);
        Report();
        // Those behind the oldest fail because it did.
        GiveUpOn(_flights.TryPeek(out Flight oldest) ? oldest.Step : null, failure);
        ForgetFlights();
        for (int attempt = 0; _scheduler is { HasWork: true }; attempt++)
        {
            if (attempt == MaxOpenAttempts)
            {
                _isGivenUp = true;
                FailAll(new ReplicaFailedException($"Replica {_replicaKey} could not open a new epoch in {attempt} attempts: {failure.Message}"));
                return;
            }

            await Task.Delay(Backoff(attempt), _time);
            try
            {
                await OpenAsync();
                return;
            }
            catch (Exception another)
            {
                failure = another;
                LogOpenFailed(another, _replicaKey, attempt + 1);
            }
        }

        Close(); // Everything was cancelled: the next group opens the replica again.
    }

    private static TimeSpan Backoff(int attempt)
    {
        TimeSpan delay = FirstBackoff * Math.Pow(2, attempt);
        return delay < LongestBackoff ? delay : LongestBackoff;
    }

    // A sequence is a suspect until it has got a token again.
    private static void Isolate(Scheduler scheduler)
    {
        scheduler.IsolateSequences = false;
        foreach (Sequence sequence in scheduler.Sequences())
            scheduler.IsolateSequences |= ((ActiveSequence)sequence).Failures >= FailuresBeforeIsolation;
    }

    private void GiveUpOn(SchedulerStep? step, Exception failure)
    {
        if (step is null)
            return;
        foreach (ScheduledRows rows in step.RowList)
        {
            var sequence = (ActiveSequence)rows.Sequence;
            if (++sequence.Failures > MaxFailuresOfSequence)
                Fail(sequence.Group, new ReplicaFailedException($"Replica {_replicaKey}: {sequence.Failures} steps failed in a row, last: {failure.Message}"));
        }
    }

    private void Fail(ActiveGroup group, Exception failure)
    {
        Cancel(group);
        group.Fail(failure);
    }

    private void FailAll(Exception failure)
    {
        foreach (Sequence sequence in _scheduler?.Sequences() ?? [])
            Fail(((ActiveSequence)sequence).Group, failure);
        Close();
    }

    private void Close()
    {
        ForgetFlights();
        (_scheduler, _shards) = (null, null);
    }

    private void ForgetFlights()
    {
        foreach (Flight flight in _flights)
            flight.Execution.Ignore();
        _flights.Clear();
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Replica {Replica} opened epoch {Epoch} on {Shards} shards with {Blocks} KV blocks")]
    private partial void LogOpened(string replica, long epoch, int shards, int blocks);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Replica {Replica}: a step of epoch {Epoch} failed; all sequences are computed again")]
    private partial void LogStepFailed(Exception failure, string replica, long epoch);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Replica {Replica} could not open a new epoch (attempt {Attempt})")]
    private partial void LogOpenFailed(Exception failure, string replica, int attempt);
}
