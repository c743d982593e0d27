using System.Text.Json.Nodes;
using Cluster.Kernels.Torch;
using Cluster.TestKit.Processes;

namespace Cluster.Torch.Tests;

/// <summary>Both outcomes of loading libtorch, each in a process of its own: an outcome lasts for the life of a process.</summary>
public sealed class LibTorchTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private static string Program => Path.Combine(AppContext.BaseDirectory, "Cluster.DemoModels.dll");

    [Fact]
    public async Task Loads_AndComputes()
    {
        Native.Require();
        using var home = new TemporaryFolder();
        using var process = new ChildProcess("dotnet", [Program, "check"], new Dictionary<string, string> { ["XDG_DATA_HOME"] = home.Path });

        Assert.Equal(0, await process.WaitForExitAsync(Limit));
        Assert.Contains("libtorch computes 6", process.Output);
        // Where the wrapper had to be patched, the copy is in this user's data folder and nowhere else.
        string cache = Path.Combine(home.Path, "cluster", "native");
        Assert.All(Directory.Exists(cache) ? Directory.GetFiles(cache) : [], file => Assert.Matches(@"libLibTorchSharp-[0-9a-f]{16}\.so$", file));
    }

    [Fact]
    public async Task Missing_IsACleanNo()
    {
        using var folder = new TemporaryFolder();
        JsonNode config = JsonNode.Parse(await File.ReadAllTextAsync(Path.ChangeExtension(Program, ".runtimeconfig.json")))!;
        config["runtimeOptions"]!["configProperties"]![LibTorch.FolderOption] = folder.Path;
        await File.WriteAllTextAsync(folder.File("none.runtimeconfig.json"), config.ToJsonString());

        using var process = new ChildProcess("dotnet", ["exec", "--runtimeconfig", folder.File("none.runtimeconfig.json"), Program, "check"]);

        Assert.Equal(3, await process.WaitForExitAsync(Limit));
        Assert.Contains($"no libtorch: no libtorch_cpu.so in {folder.Path}", process.Output);
        Assert.DoesNotContain("   at ", process.Output);   // no stack trace: an answer, not an accident
    }

    [Fact]
    public async Task BrokenLibrary_IsACleanNo()
    {
        using var folder = new TemporaryFolder();
        foreach (string file in (string[])["libc10.so", "libtorch_cpu.so"])
            await File.WriteAllTextAsync(folder.File(file), "not a library");
        JsonNode config = JsonNode.Parse(await File.ReadAllTextAsync(Path.ChangeExtension(Program, ".runtimeconfig.json")))!;
        config["runtimeOptions"]!["configProperties"]![LibTorch.FolderOption] = folder.Path;
        await File.WriteAllTextAsync(folder.File("broken.runtimeconfig.json"), config.ToJsonString());

        using var process = new ChildProcess("dotnet", ["exec", "--runtimeconfig", folder.File("broken.runtimeconfig.json"), Program, "check"]);

        Assert.Equal(3, await process.WaitForExitAsync(Limit));
        Assert.Contains("libc10.so does not load", process.Output);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(63)]
    [InlineData(4096)]
    public void Patch_RefusesWhatIsNoWrapper(int length)
    {
        var bytes = new byte[length];
        new Random(1).NextBytes(bytes);
        Assert.Throws<InvalidDataException>(() => WrapperPatch.Apply(bytes));
    }

    [Fact]
    public void Patch_ChangesOneFlag()
    {
        string original = Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", "libLibTorchSharp.so");
        Assert.SkipUnless(File.Exists(original), "TorchSharp's linux-x64 library is not part of this build");
        byte[] before = File.ReadAllBytes(original), after = File.ReadAllBytes(original);

        WrapperPatch.Apply(after);

        int[] changed = [.. Enumerable.Range(0, before.Length).Where(i => before[i] != after[i])];
        Assert.Single(changed);
        Assert.Equal((byte)0, before[changed[0]]);
        Assert.Equal((byte)2, after[changed[0]]);
    }

    /// <summary>A file that is cut or damaged anywhere is refused or patched, never an index error.</summary>
    [Fact]
    public void Patch_SurvivesDamage()
    {
        string original = Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", "libLibTorchSharp.so");
        Assert.SkipUnless(File.Exists(original), "TorchSharp's linux-x64 library is not part of this build");
        byte[] image = File.ReadAllBytes(original);
        foreach (int length in (int[])[64, 4096, image.Length / 2, image.Length - 64])
            Assert.Throws<InvalidDataException>(() => WrapperPatch.Apply(image[..length]));
    }
}
