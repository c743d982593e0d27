using System.Collections.Immutable;
using Cluster.Grains;
using Cluster.Silo.Gateway;
using Cluster.Silo.Storage;

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
        // Reading checkpoints and building the application have nothing to do with each other.
        KvMemory memory = KvMemory.Measure(options);
        Task<ImmutableArray<PreparedModel>> models = Task.Run(() => PreparedModel.ReadAll(options, memory, TimeProvider.System));
        await StartChecks.Run(options);
        // The folder belongs to one silo; with Redis nothing in it needs a lock.
        using DataFolder? folder = options.Redis is null ? await Take(options) : null;
        SiloIdentity identity = SiloIdentity.For(options, Environment.GetEnvironmentVariable);
        using SqliteStore? store = folder is null ? null : Open(folder);
        await using WebApplication application = SiloApplication.Build(options, memory, models, identity, store, configuration);
        await models;
        application.MapGateway();
        // Asked for now: the services are gone when the application has run.
        var host = application.Services.GetRequiredService<ModelHost>();
        try
        {
            await application.RunAsync();
        }
        catch (Exception exception)
        {
            throw host.Failure ?? new StartFailedException(StartChecks.Explain(exception, options), exception);
        }
        if (host.Failure is { } failure)
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
}
