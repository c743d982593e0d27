using Cluster.TestKit;
using Cluster.TestKit.Processes;

namespace Cluster.EndToEnd.Tests.OpenAIClients;

/// <summary>The official Node client against a real silo (node/check.mjs holds the expectations).</summary>
public sealed class NodeClientTests
{
    private static readonly string Folder = SharedData.InRepository("tests", "EndToEnd.Tests", "OpenAIClients", "node");

    [Fact]
    public async Task TheNodeClient_ChatsStreamsFailsAndCancels()
    {
        string? node = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Select(folder => Path.Combine(folder, "node")).FirstOrDefault(File.Exists);
        Assert.SkipWhen(node is null, "node is not installed");
        Assert.SkipUnless(Directory.Exists(Path.Combine(Folder, "node_modules", "openai")), "the openai package is not installed: npm install --prefix tests/EndToEnd.Tests/OpenAIClients/node");

        using SiloProcess silo = await Silos.LaunchAsync();
        using var check = new ChildProcess(node!, ["check.mjs", $"{silo.Url}/v1", "cluster-demo"], workingFolder: Folder);
        int exitCode = await check.WaitForExitAsync(TimeSpan.FromMinutes(2));
        Assert.True(exitCode == 0, check.Output);
    }
}
