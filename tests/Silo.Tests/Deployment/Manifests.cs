using Cluster.TestKit;
using k8s;
using k8s.Models;
using YamlDotNet.RepresentationModel;

namespace Cluster.Silo.Tests.Deployment;

/// <summary>deploy/k8s/base, read strictly: a field that Kubernetes does not know, a wrong type or a key given twice is an error.</summary>
internal static class Manifests
{
    private const string KustomizationName = "kustomization.yaml";

    /// <summary>Folder of the manifests.</summary>
    public static string Folder { get; } = SharedData.InRepository("deploy", "k8s", "base");

    /// <summary>Names of the manifest files, without the kustomization.</summary>
    public static string[] Files { get; } =
        [.. Directory.GetFiles(Folder).Select(file => Path.GetFileName(file)!).Where(name => name != KustomizationName).Order(StringComparer.Ordinal)];

    /// <summary>All objects.</summary>
    public static IReadOnlyList<object> All { get; } = [.. Files.SelectMany(Load)];

    /// <summary>The silos.</summary>
    public static V1StatefulSet Silos => One<V1StatefulSet>("silo");

    /// <summary>The silos' container.</summary>
    public static V1Container Silo => Silos.Spec.Template.Spec.Containers.Single();

    /// <summary>The objects of a kind.</summary>
    public static IReadOnlyList<T> Of<T>() => [.. All.OfType<T>()];

    /// <summary>The object with a name.</summary>
    public static T One<T>(string name)
        where T : IKubernetesObject<V1ObjectMeta> => Of<T>().Single(item => item.Metadata.Name == name);

    /// <summary>The kustomization.</summary>
    public static YamlMappingNode Kustomization => Documents(KustomizationName).Single();

    /// <summary>The documents of a file as they are written.</summary>
    public static IReadOnlyList<YamlMappingNode> Documents(string name)
    {
        var stream = new YamlStream();
        using var reader = new StreamReader(Path.Combine(Folder, name));
        stream.Load(reader);
        return [.. stream.Documents.Select(document => (YamlMappingNode)document.RootNode)];
    }

    /// <summary>Texts of a list.</summary>
    public static string[] Texts(YamlNode list) => [.. ((YamlSequenceNode)list).Select(item => ((YamlScalarNode)item).Value!)];

    private static List<object> Load(string name)
    {
        // Reads it twice: the representation refuses keys given twice, the models unknown fields.
        int documents = Documents(name).Count;
        List<object> objects = KubernetesYaml.LoadAllFromString(File.ReadAllText(Path.Combine(Folder, name)), strict: true);
        Assert.Equal(documents, objects.Count);
        return objects;
    }
}
