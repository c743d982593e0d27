using Cluster.Silo.Storage;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.Persistence;
using Orleans.Runtime;
using Orleans.Serialization;
using Orleans.Storage;

namespace Cluster.StorageWriter;

/// <summary>One of the two storage providers, opened as the silo opens it.</summary>
public sealed class StorageUnderTest : IAsyncDisposable
{
    private const string ProviderName = "store";

    private readonly Func<ValueTask> _close;

    private StorageUnderTest(IGrainStorage storage, Func<ValueTask> close)
    {
        Storage = storage;
        _close = close;
    }

    /// <summary>The provider.</summary>
    public IGrainStorage Storage { get; }

    /// <summary>Opens the provider that an argument names: <c>sqlite:FILE</c> or <c>redis:CONNECTION</c>.</summary>
    public static async Task<StorageUnderTest> OpenAsync(string where)
    {
        string target = where[(where.IndexOf(':') + 1)..];
        return where.StartsWith("sqlite:", StringComparison.Ordinal) ? OpenEmbedded(target) : await OpenRedisAsync(target);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _close();

    private static StorageUnderTest OpenEmbedded(string file)
    {
        SqliteStore store = SqliteStore.Open(file);
        ServiceProvider services = new ServiceCollection().AddSerializer().BuildServiceProvider();
        var storage = new SqliteGrainStorage(store, new OrleansGrainStorageSerializer(services.GetRequiredService<Serializer>()));
        return new StorageUnderTest(storage, () =>
        {
            store.Dispose();
            return services.DisposeAsync();
        });
    }

    private static async Task<StorageUnderTest> OpenRedisAsync(string connection)
    {
        var services = new ServiceCollection();
        services.AddSerializer().AddLogging();
        services.AddSingleton<IGrainStorageSerializer>(provider => provider.GetRequiredService<OrleansGrainStorageSerializer>());
        services.Configure<ClusterOptions>(options => options.ServiceId = "storage-test");
        new SiloServices(services).AddClusterGrainStorage(ProviderName, connection);
        ServiceProvider provider = services.BuildServiceProvider();
        var storage = (RedisGrainStorage)provider.GetRequiredKeyedService<IGrainStorage>(ProviderName);
        var lifecycle = new SiloLifecycleSubject(NullLogger<SiloLifecycleSubject>.Instance);
        storage.Participate(lifecycle);
        await lifecycle.OnStart();
        return new StorageUnderTest(storage, async () =>
        {
            await lifecycle.OnStop();
            await provider.DisposeAsync();
        });
    }

    // A silo builder of which only the service collection is used: the provider needs no running silo.
    private sealed class SiloServices(IServiceCollection services) : ISiloBuilder
    {
        public IServiceCollection Services { get; } = services;

        public IConfiguration Configuration { get; } = new ConfigurationManager();
    }
}

/// <summary>State that the storage tests write.</summary>
[GenerateSerializer, Alias("Cluster.Tests.CounterState")]
public sealed class CounterState
{
    /// <summary>What was written.</summary>
    [Id(0)] public long Value { get; set; }

    /// <summary>Makes the state as large as a session's.</summary>
    [Id(1)] public byte[] Padding { get; set; } = [];
}
