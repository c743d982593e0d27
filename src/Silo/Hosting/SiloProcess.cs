using Cluster.Grains;
using Cluster.Silo.Storage;
using Microsoft.AspNetCore.Connections;

namespace Cluster.Silo.Hosting;

/// <summary>Runs a silo until it is told to stop.</summary>
internal static class SiloProcess
{
    private static readonly TimeSpan LockPatience = TimeSpan.FromSeconds(10);

    /// <summary>Runs to the end; the exit code is 0 after a regular stop, 1 when the start failed (one line on <paramref name="errors"/>).</summary>
    public static async Task<int> Run(ClusterOptions options, IConfiguration configuration, TextWriter errors)
    {
        try
        {
            await RunSilo(options, configuration);
            return 0;
        }
        catch (StartFailedException failure)
        {
            await errors.WriteLineAsync($"error: {failure.Message}");
            return 1;
        }
    }

    private static async Task RunSilo(ClusterOptions options, IConfiguration configuration)
    {
        // The folder belongs to one silo; with Redis nothing in it needs a lock.
        using DataFolder? folder = options.Redis is null ? await Take(options) : null;
        SiloIdentity identity = SiloIdentity.For(options);
        using SqliteStore? store = folder is null ? null : Open(folder);
        await using WebApplication application = SiloApplication.Build(options, identity, store, configuration);
        // Asked for now: the services are gone when the application has run.
        var models = application.Services.GetRequiredService<ModelHost>();
        try
        {
            await application.RunAsync();
        }
        catch (Exception exception) when (StartProblem(exception, options) is { } problem)
        {
            throw new StartFailedException(problem, exception);
        }
        if (models.Failure is { } failure)
            throw failure;
    }

    private static async Task<DataFolder> Take(ClusterOptions options)
    {
        string path = SiloIdentity.FolderOf(options);
        try
        {
            return await DataFolder.TakeAsync(path, LockPatience, TimeProvider.System, CancellationToken.None);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartFailedException($"--data-dir {path}: {exception.Message}", exception);
        }
    }

    private static SqliteStore Open(DataFolder folder)
    {
        try
        {
            return SqliteStore.Open(Path.Combine(folder.Path, "sessions.db"));
        }
        catch (Exception exception) when (exception is StoreDamagedException or StoreUnavailableException or IOException)
        {
            throw new StartFailedException(exception.Message, exception);
        }
    }

    /// <summary>The line for a start that failed for a known reason; null for anything else.</summary>
    private static string? StartProblem(Exception exception, ClusterOptions options)
    {
        IEnumerable<Exception> all = exception is AggregateException several ? several.Flatten().InnerExceptions : [exception];
        foreach (Exception one in all)
        {
            if (one is AddressInUseException || one.InnerException is AddressInUseException)
                return $"--port {options.Port}: the address {options.Host}:{options.Port} is in use";
            if (one is IOException && one.Message.Contains("bind", StringComparison.OrdinalIgnoreCase))
                return $"--host {options.Host} --port {options.Port}: {one.Message}";
            if (one is StackExchange.Redis.RedisException)
                return $"--redis: {one.Message}";
        }
        return null;
    }
}
