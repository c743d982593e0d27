using Cluster.Silo.Gateway.Endpoints;
using Cluster.Silo.Gateway.Metrics;

namespace Cluster.Silo.Gateway;

/// <summary>Wires the gateway into a web application.</summary>
internal static class GatewayApplication
{
    /// <summary>Registers the gateway's services; the caller adds <see cref="ISessionAccess"/>, <see cref="IReadiness"/>, the model catalog and the metrics.</summary>
    public static IServiceCollection AddGateway(this IServiceCollection services, GatewaySettings settings, IReadOnlyList<string> apiKeys)
    {
        services.AddSingleton(settings);
        services.AddSingleton(new ApiKeys(apiKeys));
        services.AddSingleton(provider => new RetryPolicy(provider.GetRequiredService<TimeProvider>(), settings.ModelWait));
        services.AddSingleton<DrainGate>();
        services.AddSingleton<ServingGate>();
        services.AddSingleton<StreamAnswer>();
        services.AddSingleton<UnaryAnswer>();
        services.AddSingleton<MetricStore>();
        services.AddSingleton<MetricsPage>();
        services.AddSingleton<GenerationEndpoints>();
        services.AddSingleton<ModelEndpoints>();
        services.AddSingleton<TokenizerEndpoints>();
        services.AddSingleton<StatusEndpoints>();
        services.AddSingleton<AdminEndpoints>();
        return services;
    }

    /// <summary>Registers the routes.</summary>
    public static void MapGateway(this WebApplication application)
    {
        application.UseMiddleware<RequestGuard>();
        application.UseRouting();
        IServiceProvider services = application.Services;
        services.GetRequiredService<GenerationEndpoints>().Map(application);
        services.GetRequiredService<ModelEndpoints>().Map(application);
        services.GetRequiredService<TokenizerEndpoints>().Map(application);
        services.GetRequiredService<StatusEndpoints>().Map(application);
        services.GetRequiredService<AdminEndpoints>().Map(application);
    }
}
