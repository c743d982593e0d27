using System.Globalization;
using System.Text.Json;
using Cluster.Silo.Hosting;
using Cluster.TestKit;
using k8s.Models;

namespace Cluster.Silo.Tests.Deployment;

/// <summary>The Dockerfile builds and starts what the project builds.</summary>
public sealed class ImageTests
{
    private static readonly string[] Lines =
        [.. File.ReadAllLines(SharedData.InRepository("deploy", "k8s", "Dockerfile")).Select(line => line.Trim()).Where(line => line.Length > 0 && line[0] != '#')];

    private static string ApplicationFolder => After("FROM ${RUNTIME_IMAGE}", "WORKDIR");

    /// <summary>Where a path of the image comes from: the application's folder has the repository's models folder.</summary>
    public static string InRepository(string imagePath) => SharedData.InRepository(Path.GetRelativePath(ApplicationFolder, imagePath).Split('/'));

    [Fact]
    public void TheEntrypointIsTheSiloAndGetsSignals()
    {
        string entrypoint = Lines.Single(line => line.StartsWith("ENTRYPOINT", StringComparison.Ordinal))["ENTRYPOINT".Length..];
        // Exec form is JSON; the shell form would make a shell process 1.
        Assert.Equal(["dotnet", $"{typeof(SiloApplication).Assembly.GetName().Name}.dll"], JsonSerializer.Deserialize<string[]>(entrypoint)!);
        Assert.DoesNotContain(Lines, line => line.StartsWith("CMD", StringComparison.Ordinal));
        string publish = Lines.Single(line => line.StartsWith("RUN dotnet publish", StringComparison.Ordinal));
        Assert.True(File.Exists(SharedData.InRepository(publish.Split(' ')[3].Split('/'))), publish);
        Assert.EndsWith($"-o {ApplicationFolder}", publish, StringComparison.Ordinal);
        Assert.Contains($"COPY --from=build {ApplicationFolder} ./", Lines);
    }

    [Fact]
    public void TheUserIsTheOneThatThePodAsksForAndNotRoot()
    {
        V1PodSecurityContext pod = Manifests.Silos.Spec.Template.Spec.SecurityContext;
        Assert.True(pod.RunAsNonRoot);
        Assert.True(pod.RunAsUser > 0);
        Assert.Equal(pod.RunAsUser!.Value.ToString(CultureInfo.InvariantCulture), After("FROM ${RUNTIME_IMAGE}", "USER"));
    }

    [Fact]
    public void PortsAreThoseOfThePod() => Assert.Equal(
        Manifests.Silo.Ports.Select(port => port.ContainerPort.ToString(CultureInfo.InvariantCulture)).Order(StringComparer.Ordinal),
        After("FROM ${RUNTIME_IMAGE}", "EXPOSE").Split(' ').Order(StringComparer.Ordinal));

    [Fact]
    public void TheBuildCopiesWhatTheContextHasAndNothingElse()
    {
        string[] sources = [.. Lines.Where(line => line.StartsWith("COPY", StringComparison.Ordinal) && !line.Contains("--from", StringComparison.Ordinal))
            .SelectMany(line => line.Split(' ')[1..^1]).Select(source => source.TrimEnd('/')).Order(StringComparer.Ordinal)];
        foreach (string source in sources)
            Assert.True(Path.Exists(SharedData.InRepository(source)), source);
        string[] rules = [.. File.ReadAllLines(SharedData.InRepository("deploy", "k8s", "Dockerfile.dockerignore")).Where(line => line.Length > 0 && line[0] != '#')];
        Assert.Equal("*", rules[0]);
        Assert.Equal(sources, rules.Where(rule => rule[0] == '!').Select(rule => rule[1..]).Order(StringComparer.Ordinal));
        Assert.Contains(BundledModels.Name, Directory.GetDirectories(SharedData.InRepository("models")).Select(Path.GetFileName));
    }

    [Fact]
    public void BaseImagesAreArgumentsWithAVersion()
    {
        string[] arguments = [.. Lines.Where(line => line.StartsWith("ARG", StringComparison.Ordinal))];
        string version = $"{Environment.Version.Major}.{Environment.Version.Minor}";
        Assert.Equal(2, arguments.Length);
        Assert.All(arguments, argument => Assert.EndsWith($":{version}", argument, StringComparison.Ordinal));
        Assert.All(Lines.Where(line => line.StartsWith("FROM", StringComparison.Ordinal)), line => Assert.StartsWith("FROM ${", line, StringComparison.Ordinal));
    }

    private static string After(string stage, string instruction) => Lines.SkipWhile(line => line != stage)
        .Single(line => line.StartsWith(instruction + " ", StringComparison.Ordinal))[(instruction.Length + 1)..];
}
