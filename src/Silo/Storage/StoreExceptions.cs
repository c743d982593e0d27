namespace Cluster.Silo.Storage;

/// <summary>The store's file or one of its rows is damaged; nothing is guessed and nothing is overwritten.</summary>
internal sealed class StoreDamagedException(string file, string detail, Exception? inner = null)
    : IOException($"The embedded store {file} is damaged: {detail}. Move the file away to start empty, or restore it from a backup.", inner);

/// <summary>The store did not take the operation (disk full, locked by another process, closed); the caller may try again.</summary>
internal sealed class StoreUnavailableException(string file, Exception inner)
    : IOException($"The embedded store {file} did not commit: {inner.Message}", inner);

/// <summary>The writer's version is not the stored one.</summary>
internal sealed class VersionConflictException(string name, string grain, long? expected, long? stored)
    : Exception($"State {name} of {grain}: the writer has version {Text(expected)}, the store has {Text(stored)}.")
{
    /// <summary>Version that the writer has.</summary>
    public long? Expected { get; } = expected;

    /// <summary>Version in the store.</summary>
    public long? Stored { get; } = stored;

    private static string Text(long? version) => version?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "none";
}
