using System.Collections.Immutable;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Cluster.Grains.Replicas;

namespace Cluster.Grains.Sessions;

/// <summary>
/// A session in memory: its transcript, its readers, and the run that generates while somebody reads (or always, in the
/// background). Lives on its grain's scheduler; no member is used from elsewhere.
/// </summary>
internal sealed class ActiveSession
{
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(1);

    private readonly SessionServices _services;
    private readonly SessionJournal _journal;
    private readonly SessionTranscript _transcript;
    private readonly SessionTelemetry _telemetry;
    private readonly bool _isNew;
    private TaskCompletionSource _changed = NewSignal();
    private CancellationTokenSource _cancellation = new();
    private Task _run = Task.CompletedTask;
    private Exception? _failure;
    private long _idleSince;
    private readonly List<SessionFollower> _readers = [];
    private bool _closed;
    private bool _isAwaited;
    private int _lastWords;

    /// <param name="services">What sessions use.</param>
    /// <param name="journal">The session's rows.</param>
    /// <param name="transcript">What was emitted so far.</param>
    /// <param name="idleSince">When it became idle, Unix milliseconds.</param>
    /// <param name="isNew">It was accepted by this activation, so nobody has seen anything of it elsewhere.</param>
    public ActiveSession(SessionServices services, SessionJournal journal, SessionTranscript transcript, long idleSince, bool isNew)
    {
        (_services, _journal, _transcript, _idleSince, _isNew) = (services, journal, transcript, idleSince, isNew);
        _telemetry = new SessionTelemetry(services.Metrics, Accepted, services.Time, isNew);
        if (isNew)
            _telemetry.Accepted();
        journal.Track(transcript, () => _idleSince, Overtake);
    }

    /// <summary>Called when nobody reads or generates and everything is written or gone: the activation may go.</summary>
    public required Action Settled { get; init; }

    /// <summary>Called when another activation wrote the session's rows: this one must go at once.</summary>
    public required Action Overtaken { get; init; }

    /// <summary>Called when the session was refused by all replicas before it emitted anything: its rows are to be deleted.</summary>
    public required Action Refused { get; init; }

    public AcceptRecord Accepted => _transcript.Rules.Accepted;

    /// <summary>Readers are attached, or have not been told yet why the session ended.</summary>
    public bool HasReaders => _readers.Count > 0 || _lastWords > 0;

    /// <summary>Nobody reads or generates, and everything is written or somebody else writes it.</summary>
    public bool IsSettled => !HasReaders && (_closed || (_run.IsCompleted && _journal.IsClean));

    private bool IsRunning => !_run.IsCompleted && !_cancellation.IsCancellationRequested;

    private bool IsBackground => Accepted.Request.Background;

    public SessionDescription Describe()
    {
        SessionStatus status = _transcript.IsComplete ? SessionStatus.Finished : IsRunning ? SessionStatus.Running : SessionStatus.Paused;
        return Accepted.Describe(status, _transcript.Events.Count, [.. Accepted.Prompts.Select(WithLogprobs)]);
    }

    /// <summary>The events that a reader wants, posted to its inbox if it has one; keeps the session running while it is enumerated.</summary>
    public async IAsyncEnumerable<SessionEvent> ReadAsync(SessionFollower reader, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Enter(reader);
        try
        {
            while (true)
            {
                while (reader.Next(_transcript.Events) is { } next)
                    yield return next;
                if (_transcript.IsComplete)
                    yield break;
                if (_failure is not null)
                    throw Copy(_failure);
                _isAwaited |= !reader.HasInbox;
                await _changed.Task.WaitAsync(cancellationToken);
            }
        }
        finally
        {
            Leave(reader);
        }
    }

    /// <summary>Starts generating unless it already does.</summary>
    public void EnsureRunning()
    {
        if (_closed || _transcript.IsComplete || IsRunning)
            return;
        _failure = null;
        _cancellation = new CancellationTokenSource();
        _run = RunAsync(_run, Activity.Current?.Context ?? default, _cancellation.Token);
    }

    /// <summary>When to look after the session again, Unix milliseconds (0: at every sweep); null when its retention is over.</summary>
    public long? Tend()
    {
        if (IsBackground && !_transcript.IsComplete)
        {
            EnsureRunning();
            return 0;
        }

        long retention = (long)_services.Retention.TotalMilliseconds;
        if (HasReaders || IsRunning)
            return _services.Now + retention;
        long due = _idleSince + retention;
        return due <= _services.Now ? null : due;
    }

    /// <summary>Ends everything: readers get the reason (unless the session failed before), sequences are freed. Rows are left alone.</summary>
    public async Task CloseAsync(Exception reason)
    {
        _closed = true;
        _failure ??= reason;
        await _cancellation.CancelAsync();
        Pulse();
        await _run;
    }

    /// <summary>Stops generating and writes what is not written, because the activation goes.</summary>
    public async Task SuspendAsync()
    {
        _closed = true;
        await _cancellation.CancelAsync();
        await _run;
        await _journal.FlushAsync();
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Enter(SessionFollower reader)
    {
        _readers.Add(reader);
        reader.Deliver(_transcript.Events);
        _idleSince = 0;
        EnsureRunning();
    }

    private void Leave(SessionFollower reader)
    {
        _readers.Remove(reader);
        if (HasReaders)
            return;
        if (_closed)
            SettleAfterLastWordsAsync().Ignore();
        else
            SettleAsync().Ignore();
    }

    // A reader that got events and the failure together asks for the failure in a further call, which must find the activation.
    private async Task SettleAfterLastWordsAsync()
    {
        _lastWords++;
        await Task.Delay(LastWords, _services.Time);
        _lastWords--;
        if (!HasReaders)
            Settled();
    }

    private async Task SettleAsync()
    {
        if (!IsBackground)
        {
            await _cancellation.CancelAsync();
            await _run;
        }

        if (HasReaders || _closed)
            return;
        _idleSince = _services.Now;
        _journal.MarkDirty();
        await _journal.FlushAsync();
        if (IsSettled)
            Settled();
    }

    private async Task RunAsync(Task previous, ActivityContext parent, CancellationToken cancellationToken)
    {
        await previous;
        if (cancellationToken.IsCancellationRequested || _transcript.IsComplete)
            return;
        _telemetry.BeginRun(parent);
        Exception? failure = null;
        try
        {
            await NewGeneration().RunAsync(cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Paused, cancelled or moving.
        }
        catch (Exception e)
        {
            failure = e;
        }

        _telemetry.EndRun(_transcript, failure);
        if (_transcript.IsComplete)
            Finish();
        else if (failure is not null)
            Fail(failure);
    }

    private SessionGeneration NewGeneration() =>
        new(_transcript, _telemetry, _services.Replicas, _services.Replica, _services.Options.Value, _services.Time, _services.Logger)
        {
            Progressed = Progress,
        };

    private void Progress(int tokens)
    {
        _journal.AddTokens(tokens);
        Pulse();
    }

    private void Finish()
    {
        _telemetry.Finished(_transcript);
        if (_closed)
            return;
        if (!HasReaders)
            SettleAsync().Ignore();
        else
            _journal.MarkDirty();
    }

    private void Fail(Exception failure)
    {
        _failure = failure;
        Pulse();
        if (failure is RequestRejectedException rejection && _isNew && _transcript.TokenCount == 0 && !_closed
            && !(IsBackground && rejection.Reason == RejectionReason.Overloaded))
        {
            _closed = true;
            _services.Metrics.AdmissionRejections.Add(1, new("model_name", Accepted.Request.Model), new("engine", "0"), new("reason", rejection.Reason.ToString()));
            Refused();
        }
    }

    private void Overtake()
    {
        CloseAsync(new EnumerationAbortedException($"Session {Accepted.SessionId} goes on in another activation.")).Ignore();
        if (!HasReaders)
            Overtaken();
    }

    // Readers with an inbox wait for the end only.
    private void Pulse()
    {
        foreach (SessionFollower reader in _readers)
            reader.Deliver(_transcript.Events);
        if (!_isAwaited && !_transcript.IsComplete && _failure is null)
            return;
        _isAwaited = false;
        TaskCompletionSource changed = _changed;
        _changed = NewSignal();
        changed.SetResult();
    }

    private PromptDescription WithLogprobs(PromptDescription prompt, int index)
    {
        ImmutableArray<ScoredToken> scores = _transcript.PromptScores(index);
        // A prompt of one token has nothing to wait for.
        if (Accepted.Request.PromptLogprobs is null || (scores.IsEmpty && prompt.TokenIds.Length > 1))
            return prompt;
        TokenSpelling spelling = _transcript.Rules.Spelling;
        var first = new TokenLogprob(spelling.Spell(prompt.TokenIds[0], float.NaN), []);
        return prompt with { Logprobs = [first, .. scores.Select(spelling.Spell)] };
    }

    // Each reader gets an exception of its own: one object thrown twice loses its stack and its owner.
    private static Exception Copy(Exception failure) => failure switch
    {
        RequestRejectedException rejection => new RequestRejectedException(
            rejection.Reason, rejection.Message, rejection.Parameter, rejection.RetryAfterSeconds),
        EnumerationAbortedException aborted => new EnumerationAbortedException(aborted.Message),
        _ => new InvalidOperationException($"The generation failed: {failure.GetType().Name}: {failure.Message}"),
    };
}
