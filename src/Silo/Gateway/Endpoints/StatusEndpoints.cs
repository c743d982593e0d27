using System.Text.Json;
using Cluster.Silo.Configuration;
using Cluster.Silo.Gateway.Metrics;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>Health, metrics, version.</summary>
internal sealed class StatusEndpoints(IReadiness readiness, MetricsPage metrics)
{
    /// <summary>Registers the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/health", Ready);
        routes.MapGet("/health/ready", Ready);
        routes.MapGet("/health/live", context => Answer(context, StatusCodes.Status200OK, null));
        foreach (string method in (ReadOnlySpan<string>)["GET", "POST"])
            routes.MapMethods("/ping", [method], Ready);
        routes.MapGet("/version", context => JsonText.Respond(context, StatusCodes.Status200OK, json =>
        {
            json.WriteStartObject();
            json.WriteString("version"u8, ProductVersion.Text);
            json.WriteEndObject();
        }));
        routes.MapGet("/metrics", Metrics);
    }

    private Task Ready(HttpContext context)
    {
        string? reason = readiness.WhyNot();
        if (reason is not null)
            context.Response.Headers.RetryAfter = "1";
        return Answer(context, reason is null ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable, reason);
    }

    private static Task Answer(HttpContext context, int status, string? reason) => JsonText.Respond(context, status, json =>
    {
        json.WriteStartObject();
        json.WriteString("status"u8, reason is null ? "ok"u8 : "unavailable"u8);
        if (reason is not null)
            json.WriteString("reason"u8, reason);
        json.WriteEndObject();
    });

    private async Task Metrics(HttpContext context)
    {
        context.Response.ContentType = MetricsPage.ContentType;
        metrics.Write(context.Response.BodyWriter);
        await context.Response.BodyWriter.FlushAsync(context.RequestAborted);
    }
}

/// <summary>Whether this silo can serve.</summary>
internal interface IReadiness
{
    /// <summary>Null when ready, else why not.</summary>
    string? WhyNot();
}
