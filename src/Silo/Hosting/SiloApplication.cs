using System.Collections.Immutable;
using System.Net;
using Cluster.Grains;
using Cluster.Silo.Gateway;
using Cluster.Silo.Gateway.Endpoints;
using Cluster.Silo.Gateway.Metrics;
using Cluster.Silo.Storage;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;

namespace Cluster.Silo.Hosting;

/// <summary>Builds the process: Orleans, HTTP gateway, models.</summary>
internal static class SiloApplication
{
    // After the drain everything stops quickly; this only bounds a store or a socket that hangs.
    internal static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(15);

    /// <summary>Builds the application; nothing has started yet, and its routes are not mapped.</summary>
    /// <param name="options">All settings.</param>
    /// <param name="memory">Memory for KV caches.</param>
    /// <param name="models">What the files of the models tell; must have ended before any service is asked for.</param>
    /// <param name="identity">Name, folder, addresses.</param>
    /// <param name="store">The embedded store; null with Redis.</param>
    /// <param name="configuration">Logging levels.</param>
    public static WebApplication Build(
        ClusterOptions options, KvMemory memory, Task<ImmutableArray<PreparedModel>> models, SiloIdentity identity, SqliteStore? store, IConfiguration configuration)
    {
        // The empty builder: no file watchers, no providers that are not used, a quick start.
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Configuration.AddConfiguration(configuration);
        AddLogging(builder.Logging, configuration);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => Listen(kestrel, options, identity.Host));
        // A token's bytes leave on the thread that wrote them. Nothing of the gateway blocks, so no connection holds up another.
        builder.WebHost.UseSockets(sockets => sockets.UnsafePreferInlineScheduling = true);
        builder.Services.AddRoutingCore();
        builder.Services.Configure<HostOptions>(host =>
        {
            // HTTP listens while the silo starts: liveness must not wait for models.
            host.ServicesStartConcurrently = true;
            host.ShutdownTimeout = TimeSpan.FromSeconds(options.ShutdownTimeout) + StopLimit;
        });
        builder.Services.Configure<ConsoleLifetimeOptions>(console => console.SuppressStatusMessages = true);
        AddServices(builder.Services, options, memory, models, identity);
        builder.UseOrleans(silo => SiloConfiguration.Configure(silo, options, identity, store));
        // Last, so that it wins over options made from nothing.
        builder.Services.AddSingleton(Options.Create(options));
        return builder.Build();
    }

    private static void AddLogging(ILoggingBuilder logging, IConfiguration configuration)
    {
        logging.AddConfiguration(configuration.GetSection("Logging"));
        logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss.fff ";
        });
        // Standard output belongs to the start summary.
        logging.Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }

    private static void Listen(KestrelServerOptions kestrel, ClusterOptions options, IPAddress host)
    {
        kestrel.AddServerHeader = false;
        // The gateway has its own limit, with an answer that clients see.
        kestrel.Limits.MaxRequestBodySize = null;
        kestrel.Listen(host, options.Port);
    }

    private static GatewaySettings Limits(ClusterOptions options) =>
        new(options.MaxRequestBodyBytes, TimeSpan.FromSeconds(options.ModelWait), TimeSpan.FromSeconds(options.SsePingInterval));

    private static void AddServices(
        IServiceCollection services, ClusterOptions options, KvMemory memory, Task<ImmutableArray<PreparedModel>> models, SiloIdentity identity)
    {
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton(identity);
        services.AddGateway(Limits(options), options.ApiKey);
        services.AddSingleton<ISessionAccess, GrainSessionAccess>();
        services.AddSingleton<IReadiness, SiloReadiness>();
        services.AddSingleton<IConstantMetrics, CacheConfigMetrics>();
        services.AddSingleton<SiloAddresses>();
        services.AddSingleton<DeviceThreads>();
        services.AddSingleton<IReadOnlyList<PreparedModel>>(_ => models.Result);
        services.AddSingleton(memory);
        services.AddSingleton<ShardLoader>();
        services.AddSingleton<ShardStock>();
        services.AddSingleton<ShardKeeper>();
        services.AddSingleton<KnownModels>();
        services.AddSingleton<ModelHost>();
        services.AddHostedService(provider => provider.GetRequiredService<ModelHost>());
        services.AddHostedService<DrainService>();
        if (Telemetry.IsWanted)
            services.AddTelemetry(identity.Name);
    }
}
