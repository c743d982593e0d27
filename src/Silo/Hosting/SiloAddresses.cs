using System.Net;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace Cluster.Silo.Hosting;

/// <summary>Where the silo answers once it listens.</summary>
internal sealed class SiloAddresses(IServer server, SiloIdentity identity)
{
    /// <summary>URL of the HTTP listener as others can reach it: the port in use, and no wildcard address.</summary>
    public string HttpUrl
    {
        get
        {
            string bound = server.Features.Get<IServerAddressesFeature>()?.Addresses.FirstOrDefault()
                ?? throw new InvalidOperationException("The HTTP listener has not started.");
            return $"http://{AdvertisedHost}:{new Uri(bound).Port}";
        }
    }

    /// <summary>Address under which others reach this silo; a pod knows it, where its name may not resolve.</summary>
    public string AdvertisedHost
    {
        get
        {
            bool anywhere = identity.Host.Equals(IPAddress.Any) || identity.Host.Equals(IPAddress.IPv6Any);
            return anywhere ? identity.Pod?.Host ?? Dns.GetHostName() : new IPEndPoint(identity.Host, 0).ToString()[..^2];
        }
    }
}
