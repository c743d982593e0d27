using System.Reflection;
using System.Text.RegularExpressions;
using Cluster.Silo.Configuration;
using k8s;
using k8s.Models;
using Orleans.Hosting.Kubernetes;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Cluster.Silo.Tests.Deployment;

/// <summary>The manifests agree with each other.</summary>
public sealed partial class ManifestTests
{
    [Fact]
    public void TheKustomizationListsEveryFileOnce() =>
        Assert.Equal(Manifests.Files, Manifests.Texts(Manifests.Kustomization["resources"]).Order(StringComparer.Ordinal));

    [Fact]
    public void EveryObjectIsInTheNamespaceOfTheKustomization()
    {
        string name = ((YamlScalarNode)Manifests.Kustomization["namespace"]).Value!;
        Assert.Equal(name, Manifests.Of<V1Namespace>().Single().Metadata.Name);
        foreach (IKubernetesObject<V1ObjectMeta> item in Manifests.All.Cast<IKubernetesObject<V1ObjectMeta>>().Where(item => item is not V1Namespace))
            Assert.True(item.Metadata.NamespaceProperty == name, $"{item.Kind} {item.Metadata.Name}");
    }

    [Fact]
    public void ImagesHaveATagThatIsNotLatest()
    {
        var images = (YamlSequenceNode)Manifests.Kustomization["images"];
        string[] retagged = [.. images.Select(image => $"{image["name"]}:{image["newTag"]}")];
        Assert.Equal([$"{Manifests.Silo.Image}:{ProductVersion.Text}"], retagged);
        string redis = Manifests.One<V1StatefulSet>("redis").Spec.Template.Spec.Containers.Single().Image;
        Assert.Matches(@"^redis:\d+\.\d+$", redis);
    }

    [Fact]
    public void SelectorsFindTheirPods()
    {
        V1StatefulSet[] sets = [.. Manifests.Of<V1StatefulSet>()];
        Assert.Equal(["redis", "silo"], sets.Select(set => set.Metadata.Name).Order(StringComparer.Ordinal));
        foreach (V1StatefulSet set in sets)
        {
            string[] found = Found(set.Spec.Selector.MatchLabels);
            Assert.Equal([set.Metadata.Name], found);
            Assert.Contains(Manifests.Of<V1Service>(), service => service.Metadata.Name == set.Spec.ServiceName);
        }
        foreach (V1Service service in Manifests.Of<V1Service>())
            Assert.Equal([service.Metadata.Name == "redis" ? "redis" : "silo"], Found(service.Spec.Selector));
        Assert.Equal(["silo"], Found(Manifests.Of<V1PodDisruptionBudget>().Single().Spec.Selector.MatchLabels));
        V1WeightedPodAffinityTerm apart = Manifests.Silos.Spec.Template.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution.Single();
        Assert.Equal(["silo"], Found(apart.PodAffinityTerm.LabelSelector.MatchLabels));
        Assert.Equal("kubernetes.io/hostname", apart.PodAffinityTerm.TopologyKey);
    }

    [Fact]
    public void ServicesLeadToPortsOfTheContainers()
    {
        foreach (V1Service service in Manifests.Of<V1Service>())
        {
            V1Container container = Manifests.Of<V1StatefulSet>().Single(set => Matches(service.Spec.Selector, set)).Spec.Template.Spec.Containers.Single();
            foreach (V1ServicePort port in service.Spec.Ports)
            {
                V1ContainerPort target = container.Ports.Single(candidate => candidate.Name == port.TargetPort);
                // A client that finds a silo by name has to use the port the silo listens on.
                if (service.Spec.ClusterIP == "None")
                    Assert.Equal(target.ContainerPort, port.Port);
            }
        }
    }

    [Fact]
    public void SilosHaveStableNamesAndStartTogether()
    {
        V1StatefulSetSpec spec = Manifests.Silos.Spec;
        Assert.Equal("Parallel", spec.PodManagementPolicy);
        V1Service headless = Manifests.One<V1Service>(spec.ServiceName);
        Assert.Equal("None", headless.Spec.ClusterIP);
        Assert.True(headless.Spec.PublishNotReadyAddresses);
        V1Service clients = Manifests.Of<V1Service>().Single(service => service.Spec.Ports.Any(port => port.TargetPort == "http"));
        Assert.NotEqual(true, clients.Spec.PublishNotReadyAddresses);
        Assert.Equal("1", Manifests.Of<V1PodDisruptionBudget>().Single().Spec.MaxUnavailable);
        Assert.True(spec.Replicas > 2, "two survivors are needed to declare a third silo dead");
    }

    [Fact]
    public void TheRoleIsWhatThePackageAsksFor()
    {
        FieldInfo example = typeof(KubernetesClusterAgent).GetField("ExampleRoleBinding", BindingFlags.NonPublic | BindingFlags.Static)
            ?? throw new InvalidOperationException("The package no longer says which role it needs: look its calls up again.");
        V1PolicyRule wanted = KubernetesYaml.LoadAllFromString((string)example.GetRawConstantValue()!).OfType<V1Role>().Single().Rules.Single();
        V1Role role = Manifests.Of<V1Role>().Single();
        V1PolicyRule rule = role.Rules.Single();
        Assert.Equal(wanted.Verbs.Order(StringComparer.Ordinal), rule.Verbs.Order(StringComparer.Ordinal));
        Assert.Equal(wanted.Resources, rule.Resources);
        Assert.Equal(wanted.ApiGroups, rule.ApiGroups);
        // The package deletes no pods unless it is told to.
        Assert.False(new KubernetesHostingOptions().DeleteDefunctSiloPods);

        V1RoleBinding binding = Manifests.Of<V1RoleBinding>().Single();
        Assert.Equal(("Role", role.Metadata.Name), (binding.RoleRef.Kind, binding.RoleRef.Name));
        Rbacv1Subject subject = binding.Subjects.Single();
        V1ServiceAccount account = Manifests.Of<V1ServiceAccount>().Single();
        Assert.Equal(("ServiceAccount", account.Metadata.Name, account.Metadata.NamespaceProperty), (subject.Kind, subject.Name, subject.NamespaceProperty));
        Assert.Equal(account.Metadata.Name, Manifests.Silos.Spec.Template.Spec.ServiceAccountName);
        Assert.Null(Manifests.Silos.Spec.Template.Spec.AutomountServiceAccountToken);
    }

    [Fact]
    public void TextsThatLookLikeNumbersAreQuoted()
    {
        // Kubernetes refuses a ConfigMap, an argument or a variable that YAML reads as a number or a truth value.
        var unquoted = new List<string>();
        foreach (string file in Manifests.Files)
        {
            foreach (YamlMappingNode document in Manifests.Documents(file))
                unquoted.AddRange(TextFields(document).Where(text => text.Style == ScalarStyle.Plain && NotText().IsMatch(text.Value!)).Select(text => $"{file}: {text.Value}"));
        }
        Assert.Empty(unquoted);
    }

    [Fact]
    public void RedisKeepsEveryWriteOnItsClaim()
    {
        V1StatefulSet redis = Manifests.One<V1StatefulSet>("redis");
        V1Container container = redis.Spec.Template.Spec.Containers.Single();
        Assert.Equal("redis-server", container.Args[0]);
        Dictionary<string, string> settings = container.Args.Skip(1).Chunk(2).ToDictionary(pair => pair[0], pair => pair[1]);
        Assert.Equal(("yes", "noeviction"), (settings["--appendonly"], settings["--maxmemory-policy"]));
        V1VolumeMount mount = container.VolumeMounts.Single(mount => mount.MountPath == settings["--dir"]);
        Assert.Equal(mount.Name, redis.Spec.VolumeClaimTemplates.Single().Metadata.Name);
    }

    private static string[] Found(IDictionary<string, string> selector)
    {
        Assert.NotEmpty(selector);
        return [.. Manifests.Of<V1StatefulSet>().Where(set => Matches(selector, set)).Select(set => set.Metadata.Name)];
    }

    private static bool Matches(IDictionary<string, string> selector, V1StatefulSet set) =>
        selector.All(label => set.Spec.Template.Metadata.Labels.TryGetValue(label.Key, out string? value) && value == label.Value);

    /// <summary>Values that must be texts: of ConfigMaps, labels, arguments, commands and variables.</summary>
    private static IEnumerable<YamlScalarNode> TextFields(YamlNode node) => node switch
    {
        YamlMappingNode mapping => mapping.Children.SelectMany(entry => entry.Key.ToString() is "data" or "labels" or "matchLabels" or "args" or "command" or "limits" or "value"
            ? entry.Value.AllNodes.OfType<YamlScalarNode>()
            : TextFields(entry.Value)),
        YamlSequenceNode list => list.SelectMany(TextFields),
        _ => [],
    };

    [GeneratedRegex("^([-+]?[0-9][0-9_]*(\\.[0-9]*)?([eE][-+]?[0-9]+)?|0[xo][0-9a-fA-F]+|true|false|yes|no|on|off|y|n|null|~|)$", RegexOptions.IgnoreCase)]
    private static partial Regex NotText();
}
