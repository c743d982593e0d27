using System.Collections.Immutable;
using System.Net;
using Cluster.Contracts;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Orleans.Messaging;
using Orleans.Runtime;
using Orleans.Runtime.Messaging;
using StackExchange.Redis;

namespace Cluster.Client.Transports;

/// <summary>Sessions by grain calls. Owns the Orleans client if it made one.</summary>
internal sealed class OrleansSessionTransport : ISessionTransport
{
    /// <summary>How often the list of gateways is asked for again; a dead silo's gateway stays in it that long.</summary>
    internal static readonly TimeSpan GatewayRefreshPeriod = TimeSpan.FromSeconds(3);

    private readonly IGrainFactory _grains;
    private readonly string _owner;
    private readonly IHost? _host;
    private readonly IAsyncDisposable? _companion;

    /// <param name="grains">A connected Orleans client.</param>
    /// <param name="apiKey">Key of the API, or null.</param>
    /// <param name="host">What owns the client; stopped with this transport.</param>
    /// <param name="companion">Disposed with this transport.</param>
    public OrleansSessionTransport(IGrainFactory grains, string? apiKey, IHost? host = null, IAsyncDisposable? companion = null) =>
        (_grains, _owner, _host, _companion) = (grains, SessionId.OwnerOf(apiKey), host, companion);

    public string Name => "orleans";

    /// <summary>Makes and connects an Orleans client; tries again until <paramref name="cancellationToken"/> ends it.</summary>
    public static async Task<OrleansSessionTransport> ConnectAsync(InferenceClientOptions options, HttpGatewayListProvider? gateways, CancellationToken cancellationToken)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Logging.ClearProviders();
        builder.UseOrleansClient(client => Configure(client, options, gateways));
        IHost host = builder.Build();
        try
        {
            await host.StartAsync(cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            host.Dispose();
            throw;
        }
        return new OrleansSessionTransport(host.Services.GetRequiredService<IClusterClient>(), options.ApiKey, host, gateways);
    }

    public async Task<SessionConnection> SubmitAsync(string id, GenerationRequest request, CancellationToken cancellationToken)
    {
        ISessionGrain session = _grains.GetGrain<ISessionGrain>(id);
        SessionDescription description = await session.Start(request with { Owner = _owner }, cancellationToken).ConfigureAwait(false);
        return new SessionConnection(id, new Attachment(session, _owner, 0), () => description);
    }

    public Task<SessionConnection> AttachAsync(string id, long fromSequenceNumber, CancellationToken cancellationToken) =>
        Task.FromResult(new SessionConnection(id, new Attachment(_grains.GetGrain<ISessionGrain>(id), _owner, fromSequenceNumber), () => null));

    public async Task<SessionDescription?> DescribeAsync(string id, CancellationToken cancellationToken) =>
        await _grains.GetGrain<ISessionGrain>(id).Describe(_owner, cancellationToken).ConfigureAwait(false);

    public Task<string> DetokenizeAsync(string model, ImmutableArray<int> tokenIds, CancellationToken cancellationToken) =>
        throw new NotSupportedException("A session's description has the prompt's text; there is nothing to detokenize.");

    public Task<bool> CancelAsync(string id, CancellationToken cancellationToken) => _grains.GetGrain<ISessionGrain>(id).Cancel(_owner, cancellationToken);

    public async Task<ImmutableArray<ModelListing>> ListModelsAsync(CancellationToken cancellationToken)
    {
        ClusterTopology topology = await GetTopologyAsync(cancellationToken).ConfigureAwait(false);
        return [.. topology.Models.Select(model => new ModelListing(model.Name, model.MaxModelLength, DateTimeOffset.FromUnixTimeSeconds(model.Created)))];
    }

    public Task<ClusterTopology> GetTopologyAsync(CancellationToken cancellationToken) => _grains.GetGrain<ITopologyGrain>(0).Get(cancellationToken);

    public Task<ModelDeclaration> ScaleAsync(string model, ModelScale scale, CancellationToken cancellationToken) =>
        _grains.GetGrain<ITopologyGrain>(0).Scale(model, scale).WaitAsync(cancellationToken);

    public Task<SiloDescription> DrainAsync(string silo, bool draining, CancellationToken cancellationToken) =>
        _grains.GetGrain<ITopologyGrain>(0).Drain(silo, draining).WaitAsync(cancellationToken);

    /// <summary>What callers see when a silo or a gateway dies, and nothing else (measured for each kind of failure).</summary>
    public bool IsTransient(Exception exception) => exception
        is SiloUnavailableException or OrleansMessageRejectionException or TimeoutException or EnumerationAbortedException
        or ConnectionFailedException or ConnectionAbortedException or IOException;

    public async ValueTask DisposeAsync()
    {
        if (_host is not null)
        {
            // A dead gateway must not hold up the caller.
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(2));
            await _host.StopAsync(patience.Token).ConfigureAwait(false);
            _host.Dispose();
        }
        if (_companion is not null)
            await _companion.DisposeAsync().ConfigureAwait(false);
    }

    private static void Configure(IClientBuilder client, InferenceClientOptions options, HttpGatewayListProvider? gateways)
    {
        string clusterId = gateways?.First.ClusterId ?? options.ClusterId;
        string serviceId = gateways?.First.ServiceId ?? options.ServiceId ?? clusterId;
        TimeSpan responseTimeout = gateways is { First.ResponseTimeoutSeconds: > 0 and var seconds } ? TimeSpan.FromSeconds(seconds) : options.ResponseTimeout;
        client.Configure<ClusterOptions>(cluster => (cluster.ClusterId, cluster.ServiceId) = (clusterId, serviceId));
        client.Configure<ClientMessagingOptions>(messaging => messaging.ResponseTimeout = responseTimeout);
        client.Configure<GatewayOptions>(gateway => gateway.GatewayListRefreshPeriod = GatewayRefreshPeriod);
        client.UseConnectionRetryFilter(async (_, cancellationToken) =>
        {
            await Task.Delay(TimeSpan.FromMilliseconds(100), options.TimeProvider, cancellationToken).ConfigureAwait(false);
            return !cancellationToken.IsCancellationRequested;
        });
        if (gateways is not null)
            client.Services.AddSingleton<IGatewayListProvider>(gateways);
        else if (options.Redis is not null)
            client.UseRedisClustering(redis => redis.ConfigurationOptions = RedisOptions(options.Redis));
        else
            client.UseStaticClustering([.. options.GatewayEndpoints.Select(ParseEndpoint)]);
    }

    private static ConfigurationOptions RedisOptions(string connection)
    {
        ConfigurationOptions redis = ConfigurationOptions.Parse(connection);
        // A Redis that is away for a moment is a reason to wait, not to fail.
        redis.AbortOnConnectFail = false;
        return redis;
    }

    private static IPEndPoint ParseEndpoint(string endpoint)
    {
        if (IPEndPoint.TryParse(endpoint, out IPEndPoint? parsed) && parsed.Port != 0)
            return parsed;
        int colon = endpoint.LastIndexOf(':');
        if (colon > 0 && ushort.TryParse(endpoint.AsSpan(colon + 1), out ushort port) && port != 0)
        {
            IPAddress[] addresses = Dns.GetHostAddresses(endpoint[..colon]);
            if (addresses.Length > 0)
                return new IPEndPoint(addresses[0], port);
        }
        throw new ArgumentException($"A gateway endpoint is address:port; '{endpoint}' is not.");
    }

    /// <summary>Attaches when it is enumerated, with the reader's own token.</summary>
    private sealed class Attachment(ISessionGrain session, string owner, long from) : IAsyncEnumerable<SessionEvent>
    {
        public IAsyncEnumerator<SessionEvent> GetAsyncEnumerator(CancellationToken cancellationToken = default) =>
            session.Attach(owner, from, cancellationToken).GetAsyncEnumerator(cancellationToken);
    }
}
