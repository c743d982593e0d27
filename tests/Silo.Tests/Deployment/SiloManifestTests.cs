using System.Globalization;
using System.Net;
using Cluster.Grains;
using Cluster.Silo.Configuration;
using Cluster.Silo.Hosting;
using Cluster.Silo.Tests.Gateway;
using k8s.Models;
using Microsoft.Extensions.Configuration;
using Orleans.Hosting.Kubernetes;
using StackExchange.Redis;

namespace Cluster.Silo.Tests.Deployment;

/// <summary>What the manifests say about the silo is what its code does.</summary>
public sealed class SiloManifestTests
{
    private static IDictionary<string, string> Variables => Manifests.One<V1ConfigMap>("silo-config").Data;

    private static ClusterOptions Options
    {
        get
        {
            (ClusterOptions options, IReadOnlyList<string> errors) = SettingSources.Read(
                new Dictionary<string, IReadOnlyList<string>>(), name => Variables.TryGetValue(name, out string? value) ? value : null, new ConfigurationBuilder().Build());
            Assert.Empty(errors);
            return options;
        }
    }

    [Fact]
    public void EveryVariableIsASettingWithAValueThatCanBeRead()
    {
        Assert.Subset(SettingTable.All.Select(setting => setting.Variable).ToHashSet(), Variables.Keys.ToHashSet());
        Assert.NotNull(Options.Redis);
        Assert.Null(Options.SiloName);
        Assert.Equal("silo-config", Manifests.Silo.EnvFrom.Single(source => source.ConfigMapRef is not null).ConfigMapRef.Name);
        // The base runs without secrets; those that come win, because the last source counts.
        Assert.True(Manifests.Silo.EnvFrom[^1].SecretRef.Optional);
    }

    [Fact]
    public void PortsAreThoseOfTheSettings()
    {
        ClusterOptions options = Options;
        var expected = new Dictionary<string, int?> { ["http"] = options.Port, ["silo"] = options.SiloPort, ["mesh"] = options.MeshPort, ["gateway"] = options.GatewayPort };
        Assert.Equal(expected, Manifests.Silo.Ports.ToDictionary(port => port.Name, port => (int?)port.ContainerPort));
        Assert.Equal(IPAddress.Any, IPAddress.Parse(options.Host));
    }

    [Fact]
    public async Task ProbesAskRoutesThatExist()
    {
        await using GatewayFixture gateway = await GatewayFixture.StartAsync();
        var probes = new Dictionary<string, V1Probe> { ["startup"] = Manifests.Silo.StartupProbe, ["ready"] = Manifests.Silo.ReadinessProbe, ["live"] = Manifests.Silo.LivenessProbe };
        foreach ((string name, V1Probe probe) in probes)
        {
            using HttpResponseMessage answer = await gateway.Http.GetAsync(probe.HttpGet.Path);
            Assert.True(answer.StatusCode == HttpStatusCode.OK, $"{name}: {probe.HttpGet.Path} answers {answer.StatusCode}");
            Assert.Equal("http", probe.HttpGet.Port);
        }
        gateway.Get<FixedReadiness>().Reason = "models are loading";
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await gateway.Http.GetAsync(probes["ready"].HttpGet.Path)).StatusCode);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await gateway.Http.GetAsync(probes["startup"].HttpGet.Path)).StatusCode);
        // Liveness does not depend on models: it must not restart a silo that loads or waits.
        Assert.Equal(HttpStatusCode.OK, (await gateway.Http.GetAsync(probes["live"].HttpGet.Path)).StatusCode);
    }

    [Fact]
    public void ProbesArePatientWhereARestartIsDear()
    {
        Assert.True(Manifests.Silo.StartupProbe.FailureThreshold * Manifests.Silo.StartupProbe.PeriodSeconds >= 1800, "half an hour for large weights");
        Assert.True(Manifests.Silo.LivenessProbe.FailureThreshold * Manifests.Silo.LivenessProbe.PeriodSeconds >= 30, "a pause that the membership survives is no reason to restart");
        Assert.True(
            Manifests.Silo.ReadinessProbe.FailureThreshold * Manifests.Silo.ReadinessProbe.PeriodSeconds < Manifests.Silo.Lifecycle.PreStop.Sleep.Seconds,
            "the endpoints forget a draining pod before it stops");
    }

    [Fact]
    public void TheGracePeriodIsLongerThanTheStop()
    {
        double stop = Manifests.Silo.Lifecycle.PreStop.Sleep.Seconds + Options.ShutdownTimeout + SiloApplication.StopLimit.TotalSeconds;
        long? grace = Manifests.Silos.Spec.Template.Spec.TerminationGracePeriodSeconds;
        Assert.True(grace > stop + 10, $"grace {grace} s, stop up to {stop} s");
    }

    [Fact]
    public void PathsOfVariablesAreMounted()
    {
        ClusterOptions options = Options;
        V1VolumeMount data = Mount(options.DataDir!)!;
        Assert.NotEqual(true, data.ReadOnlyProperty);
        Assert.NotEmpty(options.Model);
        foreach (string model in options.Model)
        {
            if (Mount(model) is { } mount)
                Assert.True(mount.ReadOnlyProperty);
            else
                Assert.True(File.Exists(Path.Combine(ImageTests.InRepository(model), "config.json")), $"{model} is neither mounted nor in the image");
        }
        V1VolumeMount models = Mount("/models")!;
        Assert.True(models.ReadOnlyProperty);
        Assert.True(Manifests.Silo.SecurityContext.ReadOnlyRootFilesystem);
        Assert.NotNull(Mount(Path.GetTempPath()));
    }

    [Fact]
    public void MountsHaveVolumesAndVolumesHaveClaims()
    {
        V1PodSpec pod = Manifests.Silos.Spec.Template.Spec;
        Assert.Equal(pod.Volumes.Select(volume => volume.Name).Order(StringComparer.Ordinal), Manifests.Silo.VolumeMounts.Select(mount => mount.Name).Order(StringComparer.Ordinal));
        V1PersistentVolumeClaimVolumeSource source = pod.Volumes.Single(volume => volume.PersistentVolumeClaim is not null).PersistentVolumeClaim;
        Assert.True(source.ReadOnlyProperty);
        Assert.Equal(["ReadWriteMany"], Manifests.One<V1PersistentVolumeClaim>(source.ClaimName).Spec.AccessModes);
    }

    [Fact]
    public void ThePodTellsTheSiloWhoItIs()
    {
        var expected = new Dictionary<string, string>
        {
            [PodIdentity.NameVariable] = "metadata.name",
            [PodIdentity.NamespaceVariable] = "metadata.namespace",
            [PodIdentity.AddressVariable] = "status.podIP",
        };
        Assert.Equal(expected, Manifests.Silo.Env.ToDictionary(variable => variable.Name, variable => variable.ValueFrom.FieldRef.FieldPath));
        // The package reads the same variables.
        Assert.Equal(
            [KubernetesHostingOptions.PodIPEnvironmentVariable, KubernetesHostingOptions.PodNameEnvironmentVariable, KubernetesHostingOptions.PodNamespaceEnvironmentVariable],
            expected.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void LabelsNameTheCluster()
    {
        IDictionary<string, string> labels = Manifests.Silos.Spec.Template.Metadata.Labels;
        Assert.Equal((Options.ClusterId, Options.ClusterId), (labels[KubernetesHostingOptions.ServiceIdLabel], labels[KubernetesHostingOptions.ClusterIdLabel]));
    }

    [Fact]
    public void RedisIsTheServiceOfTheManifests()
    {
        EndPoint endPoint = ConfigurationOptions.Parse(Options.Redis!).EndPoints.Single();
        V1Service redis = Manifests.One<V1Service>("redis");
        Assert.Equal(new DnsEndPoint(redis.Metadata.Name, redis.Spec.Ports.Single().Port), endPoint);
    }

    [Fact]
    public void ThreadsAreTheRequestedProcessors()
    {
        Assert.True(DeviceList.TryParse(Options.Devices, out IReadOnlyList<DeviceSetting>? devices, out _));
        Assert.Equal(int.Parse(Manifests.Silo.Resources.Requests["cpu"].ToString(), CultureInfo.InvariantCulture), devices.Sum(device => device.Threads));
        Assert.DoesNotContain("cpu", Manifests.Silo.Resources.Limits.Keys);
    }

    private static V1VolumeMount? Mount(string path) => Manifests.Silo.VolumeMounts.SingleOrDefault(
        mount => (path.TrimEnd('/') + "/").StartsWith(mount.MountPath.TrimEnd('/') + "/", StringComparison.Ordinal));
}
