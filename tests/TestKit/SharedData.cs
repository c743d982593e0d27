using System.Reflection;

namespace Cluster.TestKit;

/// <summary>
/// Where test inputs live: the repository itself, and the folder of reference data beside it. The reference data
/// (third-party tokenizers, templates, texts, larger checkpoints) is not part of the repository; a test that needs it
/// is skipped with <see cref="MissingReason"/> where it is absent.
/// </summary>
public static class SharedData
{
    /// <summary>Root folder of the repository this test assembly was built from.</summary>
    public static string RepositoryRoot { get; } = typeof(SharedData).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == "RepositoryRoot").Value!;

    /// <summary>The reference data folder: CLUSTER_SHARED if set, else <c>shared</c> beside the repository.</summary>
    public static string Root { get; } = Environment.GetEnvironmentVariable("CLUSTER_SHARED") is { Length: > 0 } folder
        ? folder
        : Path.GetFullPath(Path.Combine(RepositoryRoot, "..", "shared"));

    /// <summary>Whether the reference data folder is there.</summary>
    public static bool IsPresent { get; } = Directory.Exists(Path.Combine(Root, "conformance"));

    /// <summary>The reason given by tests that are skipped because <see cref="IsPresent"/> is false.</summary>
    public const string MissingReason = "the reference data folder ../shared is not here (set CLUSTER_SHARED to its path)";

    /// <summary>Path of a file or folder under <c>conformance</c>.</summary>
    public static string Conformance(params string[] parts) => Path.Combine([Root, "conformance", .. parts]);

    /// <summary>Path of a file under <c>data</c> (prompts and texts).</summary>
    public static string Text(string file) => Path.Combine(Root, "data", file);

    /// <summary>Path of a folder of the repository, such as <c>models</c> or <c>tests/Checkpoints</c>.</summary>
    public static string InRepository(params string[] parts) => Path.Combine([RepositoryRoot, .. parts]);
}
