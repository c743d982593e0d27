using System.Text.Json;
using Cluster.Contracts;
using Cluster.Grains;
using Cluster.Silo.Gateway.Protocol;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>GET /v1/models and /v1/models/{id}.</summary>
internal sealed class ModelEndpoints(ModelCatalog models)
{
    /// <summary>Registers the routes; names may contain slashes.</summary>
    public void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/models", List);
        routes.MapGet("/v1/models/{**id}", Show);
    }

    private Task List(HttpContext context) => JsonText.Respond(context, StatusCodes.Status200OK, json =>
    {
        json.WriteStartObject();
        json.WriteString("object"u8, "list"u8);
        json.WriteStartArray("data"u8);
        foreach (ServedModel model in models.All)
            Write(json, model.Description);
        json.WriteEndArray();
        json.WriteEndObject();
    });

    private Task Show(HttpContext context)
    {
        ModelDescription model = models.Get((string?)context.GetRouteValue("id") ?? "").Description;
        return JsonText.Respond(context, StatusCodes.Status200OK, json => Write(json, model));
    }

    private static void Write(Utf8JsonWriter json, ModelDescription model)
    {
        json.WriteStartObject();
        json.WriteString("id"u8, model.Name);
        json.WriteString("object"u8, "model"u8);
        json.WriteNumber("created"u8, model.Created);
        json.WriteString("owned_by"u8, "cluster"u8);
        json.WriteString("root"u8, model.Path);
        json.WriteNull("parent"u8);
        json.WriteNumber("max_model_len"u8, model.MaxModelLength);
        json.WriteEndObject();
    }
}
