using System.Text.Json;
using System.Text.Json.Serialization;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>GET /admin/topology and /admin/gateways; PUT /admin/models/{name}, the scale of a model; POST (and DELETE) /admin/silos/{name}/drain.</summary>
internal sealed class AdminEndpoints(ISessionAccess access, RetryPolicy retry, ServingGate serving, GatewaySettings settings, TimeProvider time)
{
    /// <summary>Registers the routes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/admin/topology", async context =>
        {
            ClusterTopology topology = await Ask(context, access.GetTopology);
            await Respond(context, topology, AdminJson.Default.ClusterTopology);
        });
        routes.MapGet("/admin/gateways", async context =>
        {
            GatewayList gateways = await Ask(context, access.GetGateways);
            await Respond(context, gateways, AdminJson.Default.GatewayList);
        });
        routes.MapPut("/admin/models/{**name}", Scale);
        routes.MapPost("/admin/silos/{name}/drain", context => Drain(context, true));
        routes.MapDelete("/admin/silos/{name}/drain", context => Drain(context, false));
    }

    private const int MaxBodyBytes = 1 << 16;

    private static string NameOf(HttpContext context) => (string?)context.GetRouteValue("name") ?? "";

    private async Task Scale(HttpContext context)
    {
        ReadOnlyMemory<byte> body = await BodyReader.Read(context, MaxBodyBytes, time);
        ModelScale scale = ModelScaleBody.Read(body.Span);
        ModelDeclaration declaration = await Ask(context, token => access.Scale(NameOf(context), scale, token));
        await Respond(context, declaration, AdminJson.Default.ModelDeclaration);
    }

    private async Task Drain(HttpContext context, bool draining)
    {
        SiloDescription silo = await Ask(context, token => access.Drain(NameOf(context), draining, token));
        await Respond(context, silo, AdminJson.Default.SiloDescription);
    }

    private async Task<T> Ask<T>(HttpContext context, Func<CancellationToken, Task<T>> question)
    {
        await serving.Wait(settings.ModelWait, time, context.RequestAborted);
        return await retry.Call(question, context.RequestAborted);
    }

    private static Task Respond<T>(HttpContext context, T value, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type)
    {
        context.Response.ContentType = "application/json";
        return JsonSerializer.SerializeAsync(context.Response.Body, value, type, context.RequestAborted);
    }
}

/// <summary>JSON of the admin answers: snake_case members of the contracts.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = true)]
[JsonSerializable(typeof(ClusterTopology))]
[JsonSerializable(typeof(ModelDeclaration))]
[JsonSerializable(typeof(SiloDescription))]
[JsonSerializable(typeof(GatewayList))]
internal sealed partial class AdminJson : JsonSerializerContext;
