using System.Collections.Immutable;

namespace Cluster.Contracts;

/// <summary>
/// Answer of <c>GET /admin/gateways</c>: how an Orleans client reaches this cluster. JSON members are snake_case:
/// <c>{"cluster_id":"cluster","service_id":"cluster","gateways":["127.0.0.1:30000"],"response_timeout_seconds":10}</c>.
/// </summary>
/// <param name="ClusterId">Orleans cluster id.</param>
/// <param name="ServiceId">Orleans service id.</param>
/// <param name="Gateways">Gateway endpoints <c>address:port</c> of the active silos, as a client can reach them.</param>
/// <param name="ResponseTimeoutSeconds">The silos' response timeout; a client must use the same, or slow streams break.</param>
public sealed record GatewayList(string ClusterId, string ServiceId, ImmutableArray<string> Gateways, double ResponseTimeoutSeconds);
