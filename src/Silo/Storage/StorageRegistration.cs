using Microsoft.Extensions.DependencyInjection.Extensions;
using Orleans.Configuration;
using Orleans.Storage;
using StackExchange.Redis;

namespace Cluster.Silo.Storage;

/// <summary>Where grain state lives: the embedded store of one silo, or the cluster's Redis.</summary>
internal static class StorageRegistration
{
    /// <summary>Keeps the state of the named provider in the embedded store.</summary>
    public static ISiloBuilder AddEmbeddedGrainStorage(this ISiloBuilder silo, string name, SqliteStore store)
    {
        AddSerializer(silo.Services);
        silo.Services.AddKeyedSingleton<IGrainStorage>(
            name, (services, _) => new SqliteGrainStorage(store, services.GetRequiredService<OrleansGrainStorageSerializer>()));
        // Orleans asks for its default provider without a name.
        if (name == "Default")
            silo.Services.TryAddSingleton(services => services.GetRequiredKeyedService<IGrainStorage>(name));
        return silo;
    }

    /// <summary>Keeps the state of the named provider in Redis, in the same encoding.</summary>
    public static ISiloBuilder AddClusterGrainStorage(this ISiloBuilder silo, string name, string connection)
    {
        AddSerializer(silo.Services);
        silo.AddRedisGrainStorage(name, storage => storage.Configure<OrleansGrainStorageSerializer>((options, serializer) =>
        {
            options.ConfigurationOptions = ConfigurationOptions.Parse(connection);
            // A silo that starts while Redis is away for a moment waits for it instead of failing.
            options.ConfigurationOptions.AbortOnConnectFail = false;
            options.GrainStorageSerializer = serializer;
            options.DeleteStateOnClear = true;
        }));
        return silo;
    }

    private static void AddSerializer(IServiceCollection services) => services.TryAddSingleton<OrleansGrainStorageSerializer>();
}
