using System.Collections.Immutable;
using System.Net;
using Cluster.Contracts;
using Orleans.Messaging;

namespace Cluster.Client.Transports;

/// <summary>
/// Gateways as the cluster's HTTP edge names them. A refresh that fails keeps the last list: the silo behind the URL may
/// be the one that died.
/// </summary>
internal sealed class HttpGatewayListProvider(HttpSessionTransport http, GatewayList first) : IGatewayListProvider, IAsyncDisposable
{
    private static readonly TimeSpan RefreshTimeout = TimeSpan.FromSeconds(2);
    private ImmutableArray<Uri> _gateways = ToUris(first.Gateways);
    private bool _refresh;

    /// <summary>What the edge answered first: ids and timeout.</summary>
    public GatewayList First { get; } = first;

    public TimeSpan MaxStaleness => OrleansSessionTransport.GatewayRefreshPeriod;

    public bool IsUpdatable => true;

    public Task InitializeGatewayListProvider() => Task.CompletedTask;

    public async Task<IList<Uri>> GetGateways()
    {
        if (!_refresh)
        {
            _refresh = true;
            return [.. _gateways];
        }
        using var timeout = new CancellationTokenSource(RefreshTimeout);
        try
        {
            if (await http.ListGatewaysAsync(timeout.Token).ConfigureAwait(false) is { Gateways.Length: > 0 } list)
                _gateways = ToUris(list.Gateways);
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException or OperationCanceledException or RequestRejectedException)
        {
            // Keep the last list.
        }
        return [.. _gateways];
    }

    public ValueTask DisposeAsync() => http.DisposeAsync();

    private static ImmutableArray<Uri> ToUris(ImmutableArray<string> endpoints) =>
        [.. endpoints.Select(endpoint => new Uri($"gwy.tcp://{IPEndPoint.Parse(endpoint)}/0"))];
}
