namespace Cluster.Silo.Storage;

/// <summary>
/// The silo's data folder, held by this process alone: a lock file that the operating system frees when the process
/// ends, however it ends.
/// </summary>
internal sealed class DataFolder : IDisposable
{
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(100);

    private readonly FileStream _lock;

    private DataFolder(string path, FileStream held)
    {
        Path = path;
        _lock = held;
    }

    /// <summary>Path of the folder.</summary>
    public string Path { get; }

    /// <summary>Takes the folder, waiting up to <paramref name="patience"/> for another process to leave it.</summary>
    /// <exception cref="IOException">It is still in use, or cannot be written.</exception>
    public static async Task<DataFolder> TakeAsync(string path, TimeSpan patience, TimeProvider time, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(path);
        string file = System.IO.Path.Combine(path, "lock");
        long start = time.GetTimestamp();
        while (true)
        {
            try
            {
                return new DataFolder(path, new FileStream(file, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None));
            }
            catch (IOException exception) when (time.GetElapsedTime(start) >= patience)
            {
                throw new IOException(
                    $"The data folder {path} is in use by another silo (waited {patience.TotalSeconds:0} s). Give this silo its own with --data-dir DIR.", exception);
            }
            catch (IOException)
            {
                await Task.Delay(RetryInterval, time, cancellationToken);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();
}
