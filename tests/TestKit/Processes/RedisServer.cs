namespace Cluster.TestKit.Processes;

/// <summary>A redis-server process of one test on a free port, append-only and synced on every write.</summary>
public sealed class RedisServer : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private ChildProcess? _process;

    /// <summary>Reason given by tests that need redis-server where it is not installed.</summary>
    public const string MissingReason = "redis-server is not installed (apt-get install redis-server)";

    /// <summary>Whether redis-server is installed.</summary>
    public static bool IsInstalled { get; } = Program is not null;

    /// <summary>Port it listens on.</summary>
    public int Port { get; } = FreePort.Next();

    /// <summary>Connection string for StackExchange.Redis.</summary>
    public string Connection => $"127.0.0.1:{Port},abortConnect=false,syncTimeout=5000,connectTimeout=5000";

    /// <summary>The running process.</summary>
    public ChildProcess Process => _process ?? throw new InvalidOperationException("redis-server is not running.");

    private static string? Program => new[] { "/usr/bin/redis-server", "/usr/local/bin/redis-server", "/opt/homebrew/bin/redis-server" }.FirstOrDefault(File.Exists);

    /// <summary>Starts it, also again on the same data after <see cref="Kill"/>.</summary>
    public async Task StartAsync()
    {
        _process = new ChildProcess(Program!, ["--port", $"{Port}", "--bind", "127.0.0.1", "--dir", _folder.Path, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        await _process.WaitForLineAsync(line => line.Contains("Ready to accept connections", StringComparison.Ordinal), TimeSpan.FromSeconds(20));
    }

    /// <summary>kill -9.</summary>
    public void Kill()
    {
        _process?.Dispose();
        _process = null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Kill();
        _folder.Dispose();
    }
}
