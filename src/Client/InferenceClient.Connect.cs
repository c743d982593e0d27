using Cluster.Client.Transports;
using Cluster.Contracts;

namespace Cluster.Client;

public sealed partial class InferenceClient
{
    /// <summary>
    /// Connects. With <see cref="InferenceClientOptions.Url"/> the gateways are learned from there; if there are none to be
    /// learned or reached (a proxy, another OpenAI-compatible server), the client stays with HTTP.
    /// </summary>
    /// <exception cref="ArgumentException">The options contradict each other.</exception>
    /// <exception cref="HttpRequestException">The URL cannot be reached, or the key is wrong (status 401).</exception>
    /// <exception cref="TimeoutException">No gateway answered within <see cref="InferenceClientOptions.ConnectTimeout"/>.</exception>
    public static async Task<InferenceClient> ConnectAsync(InferenceClientOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        using var timeout = new CancellationTokenSource(options.ConnectTimeout, options.TimeProvider);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timeout.Token);
        try
        {
            ISessionTransport transport = options.Url is null
                ? await OrleansSessionTransport.ConnectAsync(options, gateways: null, linked.Token).ConfigureAwait(false)
                : await ConnectByUrlAsync(options, linked.Token, cancellationToken).ConfigureAwait(false);
            return new InferenceClient(transport, options);
        }
        catch (Exception exception) when (timeout.IsCancellationRequested && !cancellationToken.IsCancellationRequested && exception is not ArgumentException)
        {
            throw new TimeoutException($"No answer from {Address(options)} within {options.ConnectTimeout.TotalSeconds:0.#} s.", exception);
        }
    }

    private static async Task<ISessionTransport> ConnectByUrlAsync(InferenceClientOptions options, CancellationToken cancellationToken, CancellationToken callerToken)
    {
        var http = new HttpSessionTransport(options);
        try
        {
            if (options.Transport == TransportKind.Http)
            {
                await http.CheckReachableAsync(cancellationToken).ConfigureAwait(false);
                return http;
            }
            GatewayList? gateways = await http.ListGatewaysAsync(cancellationToken).ConfigureAwait(false);
            if (gateways is { Gateways.Length: > 0 } && await TryOrleansAsync(options, http, gateways, cancellationToken, callerToken).ConfigureAwait(false) is { } orleans)
                return orleans;
            return options.Transport == TransportKind.Auto
                ? http
                : throw new HttpRequestException($"{options.Url} names no Orleans gateway; connect with {nameof(TransportKind)}.{nameof(TransportKind.Http)}.");
        }
        catch
        {
            await http.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Null if the gateways cannot be reached from here (another network) and HTTP may be used instead.</summary>
    private static async Task<ISessionTransport?> TryOrleansAsync(InferenceClientOptions options, HttpSessionTransport http, GatewayList gateways, CancellationToken cancellationToken, CancellationToken callerToken)
    {
        // HTTP has answered already, so it is there to fall back to whatever happens here, unless the caller has gone.
        using var patience = new CancellationTokenSource(
            options.Transport == TransportKind.Auto ? options.ConnectTimeout / 2 : options.ConnectTimeout, options.TimeProvider);
        using var linked = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, patience.Token);
        try
        {
            return await OrleansSessionTransport.ConnectAsync(options, new HttpGatewayListProvider(http, gateways), linked.Token).ConfigureAwait(false);
        }
        catch (Exception exception) when (options.Transport == TransportKind.Auto && !callerToken.IsCancellationRequested && exception is not ArgumentException)
        {
            return null;
        }
    }

    private static string Address(InferenceClientOptions options) =>
        options.Url ?? (options.GatewayEndpoints.IsDefaultOrEmpty ? "the Redis cluster" : string.Join(", ", options.GatewayEndpoints));
}
