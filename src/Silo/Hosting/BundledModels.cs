namespace Cluster.Silo.Hosting;

/// <summary>Finds the demonstration model: beside the binary, or up the folder tree of a clone.</summary>
internal static class BundledModels
{
    /// <summary>Served name and folder name.</summary>
    public const string Name = "cluster-demo";

    /// <summary>The model's folder.</summary>
    /// <exception cref="StartFailedException">It is nowhere.</exception>
    public static string Find(string start) => TryFind(start, Name)
        ?? throw new StartFailedException($"no model: the bundled model models/{Name} is neither in {start} nor above it; name a checkpoint folder with --model DIR");

    /// <summary>Folder of a bundled model, or null.</summary>
    public static string? TryFind(string start, string name)
    {
        for (string? folder = Path.TrimEndingDirectorySeparator(start); folder is not null; folder = Path.GetDirectoryName(folder))
        {
            string candidate = Path.Combine(folder, "models", name);
            if (File.Exists(Path.Combine(candidate, "config.json")))
                return candidate;
        }
        return null;
    }
}
