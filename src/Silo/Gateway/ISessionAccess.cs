using Cluster.Contracts;

namespace Cluster.Silo.Gateway;

/// <summary>What the gateway asks of the cluster: sessions by id, and the topology. Tests put a scripted session behind it.</summary>
internal interface ISessionAccess
{
    /// <inheritdoc cref="ISessionGrain.Start"/>
    Task<SessionDescription> Start(string id, GenerationRequest request, CancellationToken cancellationToken);

    /// <inheritdoc cref="ISessionGrain.Describe"/>
    Task<SessionDescription> Describe(string id, string owner, CancellationToken cancellationToken);

    /// <inheritdoc cref="ISessionGrain.Attach"/>
    IAsyncEnumerable<SessionEvent> Attach(string id, string owner, long fromSequenceNumber, CancellationToken cancellationToken);

    /// <inheritdoc cref="ISessionGrain.Cancel"/>
    Task<bool> Cancel(string id, string owner, CancellationToken cancellationToken);

    /// <inheritdoc cref="ITopologyGrain.Get"/>
    Task<ClusterTopology> GetTopology(CancellationToken cancellationToken);

    /// <inheritdoc cref="ITopologyGrain.Scale"/>
    Task<ModelDeclaration> Scale(string model, ModelScale scale, CancellationToken cancellationToken);

    /// <inheritdoc cref="ITopologyGrain.Drain"/>
    Task<SiloDescription> Drain(string silo, bool draining, CancellationToken cancellationToken);

    /// <summary>How an Orleans client reaches the cluster.</summary>
    Task<GatewayList> GetGateways(CancellationToken cancellationToken);
}
