using System.Net;
using System.Net.Sockets;
using k8s;
using Orleans.Configuration;

namespace Cluster.Silo.Hosting;

/// <summary>The Kubernetes pod this silo runs in, as the downward API tells it.</summary>
/// <param name="Name">Name of the pod, and so of the silo.</param>
/// <param name="Address">Address of the pod: the one other silos and clients reach.</param>
internal sealed record PodIdentity(string Name, IPAddress Address)
{
    /// <summary>Variable with the pod's name (metadata.name).</summary>
    public const string NameVariable = "POD_NAME";

    /// <summary>Variable with the pod's namespace (metadata.namespace).</summary>
    public const string NamespaceVariable = "POD_NAMESPACE";

    /// <summary>Variable with the pod's address (status.podIP).</summary>
    public const string AddressVariable = "POD_IP";

    // Kubernetes sets it in every container.
    private const string ServerVariable = "KUBERNETES_SERVICE_HOST";

    /// <summary>The address as it stands in a URL or before a port.</summary>
    public string Host => Address.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{Address}]" : Address.ToString();

    /// <summary>The pod; null outside Kubernetes, or where the pod does not tell all three variables.</summary>
    /// <exception cref="StartFailedException">The address is none.</exception>
    public static PodIdentity? Find(Func<string, string?> variable)
    {
        if (variable(ServerVariable) is not { Length: > 0 } || variable(NamespaceVariable) is not { Length: > 0 })
            return null;
        if (variable(NameVariable) is not { Length: > 0 } name || variable(AddressVariable) is not { Length: > 0 } address)
            return null;
        return IPAddress.TryParse(address, out IPAddress? parsed)
            ? new PodIdentity(name, parsed)
            : throw new StartFailedException($"{AddressVariable}: must be the pod's IP address, got '{address}'");
    }

    /// <summary>The silo's name in this pod.</summary>
    /// <exception cref="StartFailedException">The settings ask for another name than the pod's.</exception>
    public string SiloName(string? configured) => configured is null || configured == Name
        ? Name
        : throw new StartFailedException($"--silo-name: must be the pod's name '{Name}' in Kubernetes (or left out), got '{configured}'");

    /// <summary>Orleans' ports at the pod's address, open on every address of its family.</summary>
    public void ConfigureEndpoints(ISiloBuilder silo, OrleansPorts ports)
    {
        IPAddress any = Address.AddressFamily == AddressFamily.InterNetworkV6 ? IPAddress.IPv6Any : IPAddress.Any;
        silo.Configure<EndpointOptions>(o =>
        {
            o.AdvertisedIPAddress = Address;
            o.SiloPort = ports.Silo;
            o.GatewayPort = ports.Gateway;
            o.SiloListeningEndpoint = new IPEndPoint(any, ports.Silo);
            o.GatewayListeningEndpoint = new IPEndPoint(any, ports.Gateway);
        });
    }

    /// <summary>
    /// Watches the pods: the silo of a deleted pod is declared dead at once. Only a saving of a second; a pod without the
    /// token of a service account goes without.
    /// </summary>
    public static void Watch(ISiloBuilder silo)
    {
        if (KubernetesClientConfiguration.IsInCluster())
            silo.UseKubernetesHosting();
    }
}
