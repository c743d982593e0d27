using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace Cluster.TestKit.Processes;

/// <summary>
/// A real silo process on loopback with a data folder of its own. <see cref="Kill"/> and <see cref="StartAsync"/> again is
/// what a crash and a restart are: same folder, same ports, same sessions.
/// </summary>
public sealed class SiloProcess : IDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(120);

    private readonly string _program;
    private readonly string[] _arguments;
    private readonly TemporaryFolder _folder = new();
    private ChildProcess? _process;

    /// <summary>Prepares a silo; it is not started yet.</summary>
    /// <param name="program">Path of the built Cluster.Silo.dll.</param>
    /// <param name="arguments">Flags beside host, port and data folder.</param>
    public SiloProcess(string program, params string[] arguments)
    {
        _program = program;
        _arguments = arguments;
        Http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 1024 }) { BaseAddress = new Uri(Url), Timeout = TimeSpan.FromMinutes(5) };
    }

    /// <summary>Environment of the process. Tests start and stop many silos: none lives long enough to profit from profiles.</summary>
    public Dictionary<string, string> Environment { get; } = new() { ["DOTNET_TieredPGO"] = "0" };

    /// <summary>Its flags beside host, port and data folder.</summary>
    public IReadOnlyList<string> Arguments => _arguments;

    /// <summary>HTTP port.</summary>
    public int Port { get; } = FreePort.Next();

    /// <summary>Base URL.</summary>
    public string Url => $"http://127.0.0.1:{Port}";

    /// <summary>Folder of the embedded store.</summary>
    public string DataFolder => _folder.Path;

    /// <summary>A client of this silo.</summary>
    public HttpClient Http { get; }

    /// <summary>The running process.</summary>
    public ChildProcess Process => _process ?? throw new InvalidOperationException("The silo is not running.");

    /// <summary>Starts a silo and waits until it is ready.</summary>
    public static async Task<SiloProcess> LaunchAsync(string program, params string[] arguments)
    {
        var silo = new SiloProcess(program, arguments);
        try
        {
            await silo.StartAsync();
            return silo;
        }
        catch
        {
            silo.Dispose();
            throw;
        }
    }

    /// <summary>Starts the process without waiting.</summary>
    public ChildProcess Spawn() => _process = new ChildProcess(
        "dotnet",
        [_program, "--host", "127.0.0.1", "--port", $"{Port}", "--data-dir", _folder.Path, .. _arguments],
        Environment);

    /// <summary>Starts the process and waits until it is ready.</summary>
    public async Task StartAsync()
    {
        Spawn();
        using var limit = new CancellationTokenSource(StartLimit);
        while (!await IsReadyAsync(limit.Token))
        {
            if (Process.HasExited)
                throw new InvalidOperationException($"The silo ended with exit code {Process.ExitCode}:\n{Process.Output}");
            if (limit.IsCancellationRequested)
                throw new TimeoutException($"The silo was not ready within {StartLimit.TotalSeconds} s:\n{Process.Output}");
            await Task.Delay(20, CancellationToken.None);
        }
    }

    /// <summary>kill -9.</summary>
    public void Kill()
    {
        _process?.Dispose();
        _process = null;
    }

    /// <summary>Posts JSON and returns status and body.</summary>
    public async Task<(HttpStatusCode Status, JsonNode Body)> PostAsync(string path, JsonNode request)
    {
        using HttpResponseMessage response = await Http.PostAsJsonAsync(path, request);
        string text = await response.Content.ReadAsStringAsync();
        return (response.StatusCode, JsonNode.Parse(text) ?? throw new InvalidDataException($"{path} answered no JSON: {text}"));
    }

    /// <summary>Gets a path and returns status and text.</summary>
    public async Task<(HttpStatusCode Status, string Text)> GetAsync(string path)
    {
        using HttpResponseMessage response = await Http.GetAsync(path);
        return (response.StatusCode, await response.Content.ReadAsStringAsync());
    }

    /// <summary>The value of a metric whose line starts with <paramref name="name"/>; 0 when there is none.</summary>
    public async Task<double> MetricAsync(string name)
    {
        (_, string text) = await GetAsync("/metrics");
        return text.Split('\n').Where(line => line.StartsWith(name, StringComparison.Ordinal))
            .Sum(line => double.Parse(line[(line.LastIndexOf(' ') + 1)..], System.Globalization.CultureInfo.InvariantCulture));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Kill();
        Http.Dispose();
        _folder.Dispose();
    }

    private async Task<bool> IsReadyAsync(CancellationToken cancellationToken)
    {
        try
        {
            using HttpResponseMessage response = await Http.GetAsync("/health/ready", cancellationToken);
            return response.StatusCode == HttpStatusCode.OK;
        }
        catch (Exception exception) when (exception is HttpRequestException or OperationCanceledException)
        {
            return false;
        }
    }
}
