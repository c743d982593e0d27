using System.Net;
using Cluster.Grains;

namespace Cluster.Silo.Hosting;

/// <summary>Who this silo is and where it lives: name, folder, addresses.</summary>
internal sealed record SiloIdentity
{
    /// <summary>Name of the silo.</summary>
    public required string Name { get; init; }

    /// <summary>Folder of the embedded store and the remembered ports.</summary>
    public required string DataFolder { get; init; }

    /// <summary>Address of the HTTP listener.</summary>
    public required IPAddress Host { get; init; }

    /// <summary>Orleans ports.</summary>
    public required OrleansPorts Ports { get; init; }

    /// <summary>The pod that the silo runs in; null outside Kubernetes.</summary>
    public PodIdentity? Pod { get; init; }

    /// <summary>Fills in what the options leave open.</summary>
    /// <param name="options">All settings.</param>
    /// <param name="variable">Variables of the environment.</param>
    /// <exception cref="StartFailedException">The data folder cannot be used, or the name is not the pod's.</exception>
    public static SiloIdentity For(ClusterOptions options, Func<string, string?> variable)
    {
        PodIdentity? pod = PodIdentity.Find(variable);
        string name = pod?.SiloName(options.SiloName) ?? options.SiloName ?? $"{Environment.MachineName}-{options.Port}";
        string folder = FolderOf(options);
        try
        {
            Directory.CreateDirectory(folder);
            return new SiloIdentity
            {
                Name = name,
                DataFolder = folder,
                Pod = pod,
                Host = options.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(options.Host),
                Ports = OrleansPorts.Remember(folder, name, options.SiloPort, options.GatewayPort),
            };
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartFailedException($"--data-dir {folder}: {exception.Message}", exception);
        }
    }

    /// <summary>Path of the data folder.</summary>
    public static string FolderOf(ClusterOptions options) => Path.GetFullPath(options.DataDir ?? DefaultFolder());

    private static string DefaultFolder()
    {
        string applicationData = Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify);
        // A service user may have no home.
        return Path.Combine(applicationData.Length > 0 ? applicationData : Path.GetTempPath(), "inference-cluster");
    }
}
