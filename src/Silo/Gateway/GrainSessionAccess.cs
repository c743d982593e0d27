using System.Collections.Immutable;
using System.Net;
using System.Runtime.CompilerServices;
using Cluster.Contracts;
using Cluster.Grains.Delivery;
using Cluster.Grains.Sessions;
using Microsoft.Extensions.Options;
using Orleans.Configuration;
using Orleans.Runtime;

namespace Cluster.Silo.Gateway;

/// <summary>Reaches the grains of the cluster through the silo's own client.</summary>
internal sealed class GrainSessionAccess(
    IGrainFactory grains, IOptions<Orleans.Configuration.ClusterOptions> cluster, IOptions<SiloMessagingOptions> messaging) : ISessionAccess
{
    /// <inheritdoc/>
    public Task<SessionDescription> Start(string id, GenerationRequest request, CancellationToken cancellationToken) =>
        grains.GetGrain<ISessionGrain>(id).Start(request, cancellationToken);

    /// <inheritdoc/>
    public Task<SessionDescription> Describe(string id, string owner, CancellationToken cancellationToken) =>
        grains.GetGrain<ISessionGrain>(id).Describe(owner, cancellationToken);

    /// <inheritdoc/>
    public async IAsyncEnumerable<SessionEvent> Attach(
        string id, string owner, long fromSequenceNumber, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var session = grains.GetGrain<ISessionControlGrain>(id);
        var request = new FollowRequest(owner, fromSequenceNumber);
        await foreach (IReadOnlyList<SessionEvent> events in GrainStream.ReadAsync<SessionEvent>(
            inbox => session.Follow(request with { Inbox = inbox }, cancellationToken), cancellationToken))
        {
            foreach (SessionEvent next in events)
                yield return next;
        }
    }

    /// <inheritdoc/>
    public Task<bool> Cancel(string id, string owner, CancellationToken cancellationToken) =>
        grains.GetGrain<ISessionGrain>(id).Cancel(owner, cancellationToken);

    /// <inheritdoc/>
    public Task<ClusterTopology> GetTopology(CancellationToken cancellationToken) =>
        grains.GetGrain<ITopologyGrain>(0).Get(cancellationToken);

    /// <inheritdoc/>
    public Task<ModelDeclaration> Scale(string model, ModelScale scale, CancellationToken cancellationToken) =>
        grains.GetGrain<ITopologyGrain>(0).Scale(model, scale).WaitAsync(cancellationToken);

    /// <inheritdoc/>
    public Task<SiloDescription> Drain(string silo, bool draining, CancellationToken cancellationToken) =>
        grains.GetGrain<ITopologyGrain>(0).Drain(silo, draining).WaitAsync(cancellationToken);

    /// <inheritdoc/>
    public async Task<GatewayList> GetGateways(CancellationToken cancellationToken)
    {
        MembershipEntry[] silos = await grains.GetGrain<IManagementGrain>(0).GetDetailedHosts(onlyActive: true);
        ImmutableArray<string> gateways =
        [
            .. silos.Where(silo => silo.ProxyPort > 0)
                .Select(silo => new IPEndPoint(silo.SiloAddress.Endpoint.Address, silo.ProxyPort).ToString())
                .Order(StringComparer.Ordinal),
        ];
        return new GatewayList(cluster.Value.ClusterId, cluster.Value.ServiceId, gateways, messaging.Value.ResponseTimeout.TotalSeconds);
    }
}
