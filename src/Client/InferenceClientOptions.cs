using System.Collections.Immutable;

namespace Cluster.Client;

/// <summary>Which way requests travel.</summary>
public enum TransportKind
{
    /// <summary>Orleans when gateways can be learned and reached, else HTTP.</summary>
    Auto = 0,

    /// <summary>Grain calls over an Orleans gateway.</summary>
    Orleans = 1,

    /// <summary>The OpenAI HTTP routes.</summary>
    Http = 2,
}

/// <summary>
/// Where the cluster is and how patient the client is. Give exactly one of <see cref="Url"/>, <see cref="Redis"/> and
/// <see cref="GatewayEndpoints"/>.
/// </summary>
public sealed record InferenceClientOptions
{
    /// <summary>HTTP address of any silo, such as <c>http://127.0.0.1:8000</c>; the Orleans gateways are learned from there.</summary>
    public string? Url { get; init; }

    /// <summary>Redis connection string the silos were started with (<c>--redis</c>).</summary>
    public string? Redis { get; init; }

    /// <summary>Orleans gateways as <c>address:port</c>.</summary>
    public ImmutableArray<string> GatewayEndpoints { get; init; } = [];

    /// <summary>Key of the API; sessions belong to the key that made them. Null when the cluster is open.</summary>
    public string? ApiKey { get; init; }

    /// <summary>Which cluster (<c>--cluster-id</c>). Default <c>cluster</c>, the silo's. Learned when <see cref="Url"/> is given.</summary>
    public string ClusterId { get; init; } = "cluster";

    /// <summary>Orleans service id; null = <see cref="ClusterId"/>, as silos do.</summary>
    public string? ServiceId { get; init; }

    /// <summary>Which way requests travel. <see cref="TransportKind.Http"/> needs <see cref="Url"/>.</summary>
    public TransportKind Transport { get; init; } = TransportKind.Auto;

    /// <summary>Longest wait for the first connection. Default 10 s.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Orleans response timeout. Must equal the silos', or slow streams break (a poll lasts half of the silo's). Default 10 s,
    /// the silo's. Learned when <see cref="Url"/> is given.
    /// </summary>
    public TimeSpan ResponseTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a stream may go without progress while it re-attaches after a lost connection or silo. Default 30 s.</summary>
    public TimeSpan ReconnectTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Clock and timers. Default: the system's.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary><see cref="Url"/>, once validated.</summary>
    internal Uri BaseAddress => new(Url!);

    /// <summary>Checks the options.</summary>
    /// <exception cref="ArgumentException">Not exactly one address, or a timeout that is not positive.</exception>
    internal void Validate()
    {
        int addresses = (string.IsNullOrEmpty(Url) ? 0 : 1) + (string.IsNullOrEmpty(Redis) ? 0 : 1) + (GatewayEndpoints.IsDefaultOrEmpty ? 0 : 1);
        if (addresses != 1)
            throw new ArgumentException($"Give exactly one of {nameof(Url)}, {nameof(Redis)} and {nameof(GatewayEndpoints)}; {addresses} are given.");
        if (Url is not null && !(Uri.TryCreate(Url, UriKind.Absolute, out Uri? url) && url.Scheme is "http" or "https"))
            throw new ArgumentException($"{nameof(Url)} must be an absolute http or https address; it is '{Url}'.");
        if (Transport == TransportKind.Http && Url is null)
            throw new ArgumentException($"{nameof(TransportKind)}.{nameof(TransportKind.Http)} needs {nameof(Url)}.");
        foreach ((string name, TimeSpan value) in new[] { (nameof(ConnectTimeout), ConnectTimeout), (nameof(ResponseTimeout), ResponseTimeout), (nameof(ReconnectTimeout), ReconnectTimeout) })
        {
            if (value <= TimeSpan.Zero)
                throw new ArgumentException($"{name} must be positive; it is {value}.");
        }
    }
}
