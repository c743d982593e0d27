using System.Collections.Immutable;
using Cluster.Contracts;

namespace Cluster.Client.Transports;

/// <summary>One way to a cluster's sessions: grain calls or HTTP. Does not retry; <see cref="InferenceSession"/> does.</summary>
internal interface ISessionTransport : IAsyncDisposable
{
    /// <summary>What it is, for messages: orleans or http.</summary>
    string Name { get; }

    /// <summary>Starts a session under a new id; safe to repeat with the same id.</summary>
    /// <exception cref="RequestRejectedException">The request is refused.</exception>
    Task<SessionConnection> SubmitAsync(string id, GenerationRequest request, CancellationToken cancellationToken);

    /// <summary>Attaches to a session from an event on.</summary>
    /// <exception cref="RequestRejectedException">No such session of this key.</exception>
    Task<SessionConnection> AttachAsync(string id, long fromSequenceNumber, CancellationToken cancellationToken);

    /// <summary>What the session accepted; null where the transport learns it from the stream only.</summary>
    Task<SessionDescription?> DescribeAsync(string id, CancellationToken cancellationToken);

    /// <summary>Text of prompt tokens, for echo.</summary>
    Task<string> DetokenizeAsync(string model, ImmutableArray<int> tokenIds, CancellationToken cancellationToken);

    /// <summary>Ends the session and forgets it. True if there was one.</summary>
    Task<bool> CancelAsync(string id, CancellationToken cancellationToken);

    /// <summary>Models the cluster serves.</summary>
    Task<ImmutableArray<ModelListing>> ListModelsAsync(CancellationToken cancellationToken);

    /// <summary>Silos, devices, models, replicas, load.</summary>
    Task<ClusterTopology> GetTopologyAsync(CancellationToken cancellationToken);

    /// <summary>Changes a model's scale; safe to repeat.</summary>
    Task<ModelDeclaration> ScaleAsync(string model, ModelScale scale, CancellationToken cancellationToken);

    /// <summary>Empties a silo, or lets it take part again; safe to repeat.</summary>
    Task<SiloDescription> DrainAsync(string silo, bool draining, CancellationToken cancellationToken);

    /// <summary>Whether the same call may succeed a little later.</summary>
    bool IsTransient(Exception exception);
}

/// <summary>An attachment to a session. Its events can be read once; their end is the end of the session, a cut throws.</summary>
internal sealed class SessionConnection(string id, IAsyncEnumerable<SessionEvent> events, Func<SessionDescription?> describe, Func<ValueTask>? dispose = null) : IAsyncDisposable
{
    /// <summary>The session's id as the server knows it.</summary>
    public string Id { get; } = id;

    /// <summary>The events from the requested one on.</summary>
    public IAsyncEnumerable<SessionEvent> Events { get; } = events;

    /// <summary>What was accepted, as far as the transport knows by now.</summary>
    public SessionDescription? Description => describe();

    public ValueTask DisposeAsync() => dispose?.Invoke() ?? default;
}
