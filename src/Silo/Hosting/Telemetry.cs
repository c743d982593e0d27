using System.Runtime.CompilerServices;
using Cluster.Grains;
using Cluster.Silo.Configuration;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Cluster.Silo.Hosting;

/// <summary>Export of traces and metrics by OTLP, only where OTEL_EXPORTER_OTLP_ENDPOINT is set.</summary>
internal static class Telemetry
{
    private const string EndpointVariable = "OTEL_EXPORTER_OTLP_ENDPOINT";

    /// <summary>Whether there is somewhere to export to.</summary>
    public static bool IsWanted => Environment.GetEnvironmentVariable(EndpointVariable) is { Length: > 0 };

    /// <summary>Adds the exporters. Not inlined, so that a start without them does not load their assemblies.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static void AddTelemetry(this IServiceCollection services, string siloName)
    {
        services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService("cluster-silo", serviceVersion: ProductVersion.Text, serviceInstanceId: siloName))
            .WithMetrics(metrics => metrics
                .AddMeter(ClusterMetrics.SourceName, "Microsoft.Orleans")
                .AddView(Renamed)
                .AddRuntimeInstrumentation()
                .AddOtlpExporter())
            .WithTracing(traces => traces
                .AddSource(ClusterMetrics.SourceName, "Microsoft.Orleans.Application")
                .AddAspNetCoreInstrumentation()
                .AddOtlpExporter());
    }

    // OpenTelemetry drops instruments with a colon in their name, which Prometheus and vLLM's names have.
    private static MetricStreamConfiguration? Renamed(System.Diagnostics.Metrics.Instrument instrument) =>
        instrument.Name.Contains(':') ? new MetricStreamConfiguration { Name = instrument.Name.Replace(':', '.') } : null;
}
