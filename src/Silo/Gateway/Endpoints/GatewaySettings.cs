namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>Limits of the gateway.</summary>
/// <param name="MaxBodyBytes">Largest request body.</param>
/// <param name="ModelWait">How long a request is held while the silo starts.</param>
/// <param name="PingInterval">How often a stream that waits for its first event says that it is alive; zero = never.</param>
internal sealed record GatewaySettings(long MaxBodyBytes, TimeSpan ModelWait, TimeSpan PingInterval);
