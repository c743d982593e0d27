namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>Limits of the gateway.</summary>
/// <param name="MaxBodyBytes">Largest request body.</param>
/// <param name="ModelWait">How long a request is held while the silo starts.</param>
internal sealed record GatewaySettings(long MaxBodyBytes, TimeSpan ModelWait);
