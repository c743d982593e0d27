using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Cluster.Client.Transports;
using Cluster.Contracts;

namespace Cluster.Client;

/// <summary>
/// Client of an inference cluster. Thread-safe; make one and keep it.
/// <code>
/// await using InferenceClient client = await InferenceClient.ConnectAsync(new() { Url = "http://127.0.0.1:8000" });
/// GenerationResult answer = await client.GenerateAsync(new() { Model = "demo", Prompts = [Prompt.FromText("Once upon")] });
/// </code>
/// </summary>
public sealed partial class InferenceClient : IAsyncDisposable
{
    private readonly ISessionTransport _transport;
    private readonly InferenceClientOptions _options;

    internal InferenceClient(ISessionTransport transport, InferenceClientOptions options) => (_transport, _options) = (transport, options);

    /// <summary>How this client talks to the cluster: <see cref="TransportKind.Orleans"/> or <see cref="TransportKind.Http"/>.</summary>
    public TransportKind Transport => _transport is HttpSessionTransport ? TransportKind.Http : TransportKind.Orleans;

    /// <summary>Generates a whole answer.</summary>
    /// <param name="request">What to generate. An empty model name means the only model there is.</param>
    /// <param name="cancellationToken">Cancels the session too.</param>
    /// <exception cref="RequestRejectedException">The request is refused, or the cluster is overloaded.</exception>
    /// <exception cref="StreamInterruptedException">The cluster was lost for too long; the session can be resumed.</exception>
    public async Task<GenerationResult> GenerateAsync(GenerationRequest request, CancellationToken cancellationToken = default)
    {
        InferenceSession session = await StartAsync(request, cancellationToken).ConfigureAwait(false);
        await using (session.ConfigureAwait(false))
        {
            try
            {
                return await session.CompleteAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                await AbandonAsync(session).ConfigureAwait(false);
                throw;
            }
        }
    }

    /// <summary>
    /// Generates and streams: one event per generated token and choice, one finish event per choice, then usage. Survives the
    /// loss of the connection or of a silo; every event arrives exactly once. Leaving the loop early cancels the session; use
    /// <see cref="StartAsync"/> for a session that outlives its reader.
    /// </summary>
    /// <inheritdoc cref="GenerateAsync" path="/exception"/>
    public async IAsyncEnumerable<SessionEvent> StreamAsync(GenerationRequest request, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        InferenceSession session = await StartAsync(request, cancellationToken).ConfigureAwait(false);
        await foreach (SessionEvent sessionEvent in StreamAndReleaseAsync(session, cancellationToken).ConfigureAwait(false))
            yield return sessionEvent;
    }

    /// <summary>Streams; a reader that leaves early takes the session with it, a lost cluster does not.</summary>
    internal async IAsyncEnumerable<SessionEvent> StreamAndReleaseAsync(InferenceSession session, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        bool keep = false;
        IAsyncEnumerator<SessionEvent> events = session.StreamAsync(-1, cancellationToken).GetAsyncEnumerator(cancellationToken);
        try
        {
            while (true)
            {
                try
                {
                    if (!await events.MoveNextAsync().ConfigureAwait(false))
                        break;
                }
                catch (Exception exception) when (exception is not OperationCanceledException)
                {
                    keep = true;
                    throw;
                }
                keep = events.Current.Kind == SessionEventKind.Usage;
                yield return events.Current;
            }
            keep = true;
        }
        finally
        {
            await events.DisposeAsync().ConfigureAwait(false);
            await session.DisposeAsync().ConfigureAwait(false);
            if (!keep)
                await AbandonAsync(session).ConfigureAwait(false);
        }
    }

    /// <summary>Submits a request and returns its session; read it with <see cref="InferenceSession.StreamAsync"/>.</summary>
    /// <inheritdoc cref="GenerateAsync" path="/exception"/>
    public async Task<InferenceSession> StartAsync(GenerationRequest request, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.Model.Length == 0)
            request = request with { Model = await OnlyModelAsync(cancellationToken).ConfigureAwait(false) };
        string id = SessionId.New(request.Kind);
        SessionConnection connection = await Budget()
            .RunAsync(() => _transport.SubmitAsync(id, request, cancellationToken), accepted: false, cancellationToken).ConfigureAwait(false);
        return new InferenceSession(_transport, _options, connection.Id, connection);
    }

    /// <summary>Handle of an existing session of this key. Does not ask the cluster.</summary>
    public InferenceSession GetSession(string id)
    {
        ArgumentException.ThrowIfNullOrEmpty(id);
        return new InferenceSession(_transport, _options, id, first: null);
    }

    /// <summary>Streams a session's events after the last sequence number seen (-1 = from the start).</summary>
    /// <exception cref="RequestRejectedException">No such session of this key, or it was cancelled.</exception>
    /// <exception cref="StreamInterruptedException">The cluster was lost for too long.</exception>
    public IAsyncEnumerable<SessionEvent> ResumeAsync(string id, long afterSequenceNumber = -1, CancellationToken cancellationToken = default) =>
        GetSession(id).StreamAsync(afterSequenceNumber, cancellationToken);

    /// <summary>Ends a session and forgets it. True if there was one.</summary>
    public Task<bool> CancelAsync(string id, CancellationToken cancellationToken = default) => GetSession(id).CancelAsync(cancellationToken);

    /// <summary>The models this cluster serves.</summary>
    public Task<ImmutableArray<ModelListing>> ListModelsAsync(CancellationToken cancellationToken = default) =>
        Budget().RunAsync(() => _transport.ListModelsAsync(cancellationToken), accepted: false, cancellationToken);

    /// <summary>Silos, devices, models, replicas and their load.</summary>
    public Task<ClusterTopology> GetTopologyAsync(CancellationToken cancellationToken = default) =>
        Budget().RunAsync(() => _transport.GetTopologyAsync(cancellationToken), accepted: false, cancellationToken);

    /// <summary>Changes how many replicas a model has and over how many shards. Returns when it is declared: <see cref="GetTopologyAsync"/> shows how far it is.</summary>
    /// <exception cref="RequestRejectedException">The model is not declared, or a value is outside its limits.</exception>
    public Task<ModelDeclaration> ScaleAsync(string model, ModelScale scale, CancellationToken cancellationToken = default) =>
        Budget().RunAsync(() => _transport.ScaleAsync(model, scale, cancellationToken), accepted: false, cancellationToken);

    /// <summary>Moves all shards of a silo elsewhere and gives it no more, or (with false) lets it take part again.</summary>
    /// <exception cref="RequestRejectedException">There is no such silo.</exception>
    public Task<SiloDescription> DrainAsync(string silo, bool draining = true, CancellationToken cancellationToken = default) =>
        Budget().RunAsync(() => _transport.DrainAsync(silo, draining, cancellationToken), accepted: false, cancellationToken);

    /// <summary>An <c>IChatClient</c> over this client; disposing it leaves this client open.</summary>
    /// <param name="model">Default model; null = the only one there is.</param>
    public ClusterChatClient AsChatClient(string? model = null) => new(this, model);

    /// <summary>Closes the connection. Sessions stay in the cluster.</summary>
    public ValueTask DisposeAsync() => _transport.DisposeAsync();

    private RetryBudget Budget() => new(_transport, _options.TimeProvider, _options.ReconnectTimeout);

    private async Task<string> OnlyModelAsync(CancellationToken cancellationToken)
    {
        ImmutableArray<ModelListing> models = await ListModelsAsync(cancellationToken).ConfigureAwait(false);
        return models.Length == 1
            ? models[0].Name
            : throw new RequestRejectedException(RejectionReason.ModelNotFound,
                models.Length == 0 ? "The cluster serves no model yet." : $"Name a model; {models.Length} are served: {string.Join(", ", models.Select(model => model.Name))}.", "model");
    }

    /// <summary>Frees the session's blocks at once instead of leaving it paused; if the cluster cannot be reached, retention ends it.</summary>
    private async Task AbandonAsync(InferenceSession session)
    {
        await session.DisposeAsync().ConfigureAwait(false);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(2), _options.TimeProvider);
        try
        {
            await _transport.CancelAsync(session.Id, patience.Token).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is OperationCanceledException or RequestRejectedException || _transport.IsTransient(exception))
        {
            // Nobody waits for the answer of this call.
        }
    }
}
