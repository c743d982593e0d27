using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Orleans.Concurrency;
using Orleans.Placement;

namespace Cluster.Grains.Sessions;

/// <summary>
/// One request's life. Accepts it durably, generates while somebody reads, and answers every reader from the same
/// transcript. Rows are read on first use and not on activation, so that a store that is away gives a typed answer. Lives
/// where the request came in.
/// </summary>
[Reentrant, PreferLocalPlacement]
internal sealed class SessionGrain : Grain, ISessionGrain, ISessionControlGrain
{
    private static readonly TimeSpan LongestSuspend = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan CatalogPoll = TimeSpan.FromMilliseconds(50);

    // A message is forwarded twice at most: several callers that come one after the other must not each meet an activation that just left.
    private static readonly TimeSpan Farewell = TimeSpan.FromSeconds(1);

    private readonly SessionServices _services;
    private readonly SessionJournal _journal;
    private readonly string _id;
    private Task? _loading;
    private Task _changing = Task.CompletedTask;
    private Task<ActiveSession>? _activating;
    private AcceptRecord? _accepted;
    private byte[]? _progress;
    private ActiveSession? _session;
    private ActiveSession? _leaving;
    private long _idleSince;
    private bool _cancelled;
    private bool _isLeaving;

    public SessionGrain(SessionServices services, IGrainContext context)
    {
        _services = services;
        _id = context.GrainId.Key.ToString()!;
        _journal = new SessionJournal(services.Storage, context.GrainId, services.Serializer, services.Time, services.Logger);
    }

    public async Task<SessionDescription> Start(GenerationRequest request, CancellationToken cancellationToken)
    {
        await KnownAsync();
        if (_accepted is null)
        {
            _changing = AcceptAsync(request, cancellationToken);
            await _changing;
        }
        else if (!_accepted.RequestDigest.AsSpan().SequenceEqual(_services.Admission.Digest(request).AsSpan()))
        {
            throw new RequestRejectedException(
                RejectionReason.InvalidRequest, $"The id '{_id}' belongs to another request; one id serves one request.", "request_id");
        }

        return (await ActivatedAsync()).Describe();
    }

    public async Task<SessionDescription> Describe(string owner, CancellationToken cancellationToken) =>
        (await FindAsync(owner)).Describe();

    public IAsyncEnumerable<SessionEvent> Attach(string owner, long fromSequenceNumber, CancellationToken cancellationToken) =>
        Follow(new FollowRequest(owner, fromSequenceNumber), cancellationToken);

    public async IAsyncEnumerable<SessionEvent> Follow(FollowRequest request, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long from = request.FromSequenceNumber;
        if (from < 0)
            throw RequestRules.Refuse("starting_after", $"starting_after must be at least -1, was {from - 1}");
        ActiveSession session = await FindAsync(request.Owner);
        await foreach (SessionEvent next in session.ReadAsync(new SessionFollower(from, request.Inbox), cancellationToken))
            yield return next;
    }

    public async Task<bool> Cancel(string owner, CancellationToken cancellationToken)
    {
        await KnownAsync();
        if (_accepted is null || _accepted.Request.Owner != owner)
        {
            LeaveIfAbsent();
            return false;
        }

        _cancelled = true;
        await RemoveAsync(new RequestRejectedException(RejectionReason.SessionCancelled, $"The session '{_id}' was cancelled."));
        return true;
    }

    public async Task<long?> Tend()
    {
        await KnownAsync();
        if (_accepted is null)
        {
            LeaveIfAbsent();
            return null;
        }

        if (_session is null && _accepted.Request.Background)
            await ActivatedAsync();
        long retention = (long)_services.Retention.TotalMilliseconds;
        long? due = _session is not null ? _session.Tend() : _idleSince + retention is var end && end > _services.Now ? end : null;
        if (due is null)
            await RemoveAsync(NotFound());
        return due;
    }

    public override async Task OnDeactivateAsync(DeactivationReason reason, CancellationToken cancellationToken)
    {
        if (_session is null)
            return;
        Task suspended = _session.SuspendAsync();
        await Task.WhenAny(suspended, Task.Delay(LongestSuspend, _services.Time, cancellationToken));
    }

    private async Task AcceptAsync(GenerationRequest request, CancellationToken cancellationToken)
    {
        AcceptRecord accepted;
        try
        {
            accepted = _services.Admission.Accept(_id, request);
            await RefuseWhenFullAsync(request.Model, cancellationToken);
        }
        catch (RequestRejectedException e)
        {
            // A caller's invention must not become a label: series are for ever.
            string model = e.Reason == RejectionReason.ModelNotFound ? "" : request.Model;
            _services.Metrics.AdmissionRejections.Add(1, new("model_name", model), new("engine", "0"), new("reason", e.Reason.ToString()));
            LeaveSoonAsync().Ignore();
            throw;
        }

        long due = request.Background ? 0 : accepted.AcceptedAt + (long)_services.Retention.TotalMilliseconds;
        // Whether a failed write is applied after all is not known: the next call reads the rows again.
        _loading = null;
        await StoredAsync(Task.WhenAll(_journal.AcceptAsync(accepted), Index.Add(_id, due)));
        _loading = Task.CompletedTask;
        _cancelled = false;
        _accepted = accepted;
        SessionRules rules = new(accepted, _services.Models.Get(request.Model));
        _session = NewSession(new SessionTranscript(rules), accepted.AcceptedAt, isNew: true);
        _activating = Task.FromResult(_session);
        if (request.Background)
            _session.EnsureRunning();
    }

    private async Task RefuseWhenFullAsync(string model, CancellationToken cancellationToken)
    {
        int limit = _services.Options.Value.MaxQueuedRequests;
        bool isFull;
        try
        {
            isFull = await _services.Replicas.IsFullAsync(model, limit, cancellationToken);
        }
        catch (Exception e) when (e is OrleansException or TimeoutException)
        {
            // The topology moves: the replica's own queue decides.
            return;
        }

        if (isFull)
        {
            throw new RequestRejectedException(
                RejectionReason.Overloaded, $"At least {limit} sequences wait at every replica (max-queued-requests {limit}).", retryAfterSeconds: 1);
        }
    }

    private ISessionIndexGrain Index => GrainFactory.GetGrain<ISessionIndexGrain>(ISessionIndexGrain.BucketOf(_id));

    private async Task<ActiveSession> FindAsync(string owner)
    {
        await KnownAsync();
        if (_accepted?.Request.Owner == owner)
            return _cancelled ? throw Cancelled() : await ActivatedAsync();
        LeaveIfAbsent();
        throw NotFound();
    }

    // Calls interleave: whoever asks while a session is accepted or removed waits until that is decided.
    private async Task KnownAsync()
    {
        do
        {
            await _changing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
            await LoadedAsync();
        }
        while (!_changing.IsCompleted);
    }

    private Task LoadedAsync()
    {
        if (_loading is null or { IsFaulted: true } or { IsCanceled: true })
            _loading = StoredAsync(LoadAsync());
        return _loading;
    }

    private async Task LoadAsync()
    {
        AcceptRecord? accepted = await _journal.ReadAcceptedAsync();
        _progress = accepted is null ? null : await _journal.ReadProgressAsync();
        _idleSince = SessionProgress.TryReadIdleSince(_progress) is { } since and > 0 ? since : _services.Now;
        _accepted = accepted;
    }

    private Task<ActiveSession> ActivatedAsync()
    {
        if (_activating is null or { IsFaulted: true } or { IsCanceled: true })
            _activating = ActivateAsync(_accepted!);
        return _activating;
    }

    private async Task<ActiveSession> ActivateAsync(AcceptRecord accepted)
    {
        ServedModel model = await ModelAsync(accepted);
        SessionTranscript transcript = SessionProgress.Restore(new SessionRules(accepted, model), _progress, _services.Logger);
        _progress = null;
        return _session = NewSession(transcript, _idleSince, isNew: false);
    }

    private async Task<ServedModel> ModelAsync(AcceptRecord accepted)
    {
        string name = accepted.Request.Model;
        long began = _services.Time.GetTimestamp();
        ServedModel? model;
        while (!_services.Models.TryGet(name, out model))
        {
            if (_services.Time.GetElapsedTime(began).TotalSeconds >= _services.Options.Value.ModelWait)
                return _services.Models.Get(name);
            await Task.Delay(CatalogPoll, _services.Time);
        }

        return model.Description.Fingerprint == accepted.ModelFingerprint
            ? model
            : throw new RequestRejectedException(
                RejectionReason.ModelChanged,
                $"The session '{_id}' was made with the model {accepted.ModelFingerprint}; '{name}' is now {model.Description.Fingerprint}.",
                "model");
    }

    private ActiveSession NewSession(SessionTranscript transcript, long idleSince, bool isNew) =>
        new(_services, _journal, transcript, idleSince, isNew)
        {
            Settled = () => LeaveSoonAsync().Ignore(),
            Overtaken = DeactivateOnIdle,
            Refused = () => RemoveAsync(NotFound()).Ignore(),
        };

    private Task RemoveAsync(Exception reason) => _changing = RemoveRowsAsync(reason);

    private async Task RemoveRowsAsync(Exception reason)
    {
        if (_session is not null)
            await _session.CloseAsync(reason);
        await StoredAsync(_journal.RemoveAsync());
        Index.Remove(_id).Ignore();
        // An activation that goes takes its readers' last words with it: the last reader that leaves lets it go.
        _leaving = _session;
        _accepted = null;
        _session = null;
        _activating = null;
        _cancelled = false;
        LeaveSoonAsync().Ignore();
    }

    // Rows that are there for somebody else keep the activation until it is idle.
    private void LeaveIfAbsent()
    {
        if (_accepted is null)
            LeaveSoonAsync().Ignore();
    }

    private async Task LeaveSoonAsync()
    {
        if (_isLeaving)
            return;
        _isLeaving = true;
        await Task.Delay(Farewell, _services.Time);
        _isLeaving = false;
        bool isDone = _session?.IsSettled ?? (_accepted is null && _leaving is not { HasReaders: true });
        if (isDone && _changing.IsCompleted)
            DeactivateOnIdle();
    }

    private RequestRejectedException NotFound() => new(RejectionReason.SessionNotFound, $"There is no session '{_id}'.", "id");

    private RequestRejectedException Cancelled() => new(RejectionReason.SessionCancelled, $"The session '{_id}' was cancelled.", "id");

    // What the store's driver throws may not exist where the caller lives.
    private static async Task StoredAsync(Task operation)
    {
        try
        {
            await operation;
        }
        catch (Exception e) when (e is SessionStoreException or OrleansException or TimeoutException)
        {
            throw new RequestRejectedException(
                RejectionReason.Overloaded, $"The session store is not available: {e.Message}", retryAfterSeconds: 1);
        }
    }
}
