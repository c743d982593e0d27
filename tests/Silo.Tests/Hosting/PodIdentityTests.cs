using System.Net;
using Cluster.Silo.Configuration;
using Cluster.Silo.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Orleans.Configuration;
using ClusterOptions = Cluster.Grains.ClusterOptions;

namespace Cluster.Silo.Tests.Hosting;

/// <summary>In Kubernetes the pod says who the silo is and where others reach it.</summary>
public sealed class PodIdentityTests : IDisposable
{
    private static readonly Dictionary<string, string> Pod = new()
    {
        ["KUBERNETES_SERVICE_HOST"] = "10.0.0.1", ["POD_NAME"] = "silo-2", ["POD_NAMESPACE"] = "inference", ["POD_IP"] = "10.1.2.3",
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("pod-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void ThePodsNameIsTheSilos()
    {
        SiloIdentity identity = SiloIdentity.For(Options(), Pod.GetValueOrDefault);
        Assert.Equal(("silo-2", new OrleansPorts(11111, 30000)), (identity.Name, identity.Ports));
        Assert.Equal("10.1.2.3", identity.Pod!.Host);
        Assert.Equal("silo-2", SiloIdentity.For(Options("silo-2"), Pod.GetValueOrDefault).Name);
    }

    [Theory]
    [InlineData("KUBERNETES_SERVICE_HOST")]
    [InlineData("POD_NAME")]
    [InlineData("POD_NAMESPACE")]
    [InlineData("POD_IP")]
    public void WithoutOneOfTheVariablesItIsNoPod(string missing)
    {
        string? Variable(string name) => name == missing ? null : Pod.GetValueOrDefault(name);
        Assert.Null(PodIdentity.Find(Variable));
        Assert.Equal("other", SiloIdentity.For(Options("other"), Variable).Name);
        Assert.Equal($"{Environment.MachineName}-8000", SiloIdentity.For(Options(), Variable).Name);
    }

    [Fact]
    public void AnotherNameThanThePodsIsRefused()
    {
        var refusal = Assert.Throws<StartFailedException>(() => SiloIdentity.For(Options("other"), Pod.GetValueOrDefault));
        Assert.Equal("--silo-name: must be the pod's name 'silo-2' in Kubernetes (or left out), got 'other'", refusal.Message);
    }

    [Fact]
    public void AnAddressThatIsNoneIsRefused()
    {
        var refusal = Assert.Throws<StartFailedException>(() => PodIdentity.Find(name => name == "POD_IP" ? "silo-2.silo" : Pod.GetValueOrDefault(name)));
        Assert.Equal("POD_IP: must be the pod's IP address, got 'silo-2.silo'", refusal.Message);
    }

    [Theory]
    [InlineData("10.1.2.3", "10.1.2.3", "0.0.0.0")]
    [InlineData("fd00::7", "[fd00::7]", "::")]
    public void OrleansAdvertisesThePodsAddressAndListensOnAll(string address, string host, string any)
    {
        PodIdentity pod = PodIdentity.Find(name => name == "POD_IP" ? address : Pod.GetValueOrDefault(name))!;
        Assert.Equal(host, pod.Host);
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.UseOrleans(silo => SiloConfiguration.Configure(silo, Options(), SiloIdentity.For(Options(), name => name == "POD_IP" ? address : Pod.GetValueOrDefault(name)), null));
        using IHost built = builder.Build();
        EndpointOptions endpoints = built.Services.GetRequiredService<IOptions<EndpointOptions>>().Value;
        Assert.Equal(IPAddress.Parse(address), endpoints.AdvertisedIPAddress);
        Assert.Equal((11111, 30000), (endpoints.SiloPort, endpoints.GatewayPort));
        Assert.Equal(new IPEndPoint(IPAddress.Parse(any), 11111), endpoints.SiloListeningEndpoint);
        Assert.Equal(new IPEndPoint(IPAddress.Parse(any), 30000), endpoints.GatewayListeningEndpoint);
        Assert.Equal("silo-2", built.Services.GetRequiredService<IOptions<SiloOptions>>().Value.SiloName);
    }

    private ClusterOptions Options(string? name = null) => new() { DataDir = _folder, SiloName = name, SiloPort = 11111, GatewayPort = 30000, Redis = "localhost:6379" };
}
