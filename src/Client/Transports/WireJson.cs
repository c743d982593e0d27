using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using Cluster.Contracts;

namespace Cluster.Client.Transports;

/// <summary>JSON of the admin routes: the contracts in snake_case.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = true)]
[JsonSerializable(typeof(GatewayList))]
[JsonSerializable(typeof(ClusterTopology))]
[JsonSerializable(typeof(DetokenizeRequest))]
[JsonSerializable(typeof(ModelDeclaration))]
[JsonSerializable(typeof(ScaleRequest))]
[JsonSerializable(typeof(SiloDescription))]
internal sealed partial class WireJson : JsonSerializerContext;

/// <summary>Body of <c>POST /detokenize</c>.</summary>
internal sealed record DetokenizeRequest(string Model, ImmutableArray<int> Tokens);

/// <summary>Body of <c>PUT /admin/models/{name}</c>; what is null stays as it is.</summary>
internal sealed record ScaleRequest
{
    /// <summary>A number, or "auto".</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public JsonElement? Replicas { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? TensorParallelSize { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? PipelineParallelSize { get; init; }

    public static ScaleRequest From(ModelScale scale) => new()
    {
        Replicas = scale switch
        {
            { FillDevices: true } => JsonDocument.Parse("\"auto\"").RootElement,
            { Replicas: { } replicas } => JsonDocument.Parse($"{replicas}").RootElement,
            _ => null,
        },
        TensorParallelSize = scale.TensorParallelSize,
        PipelineParallelSize = scale.PipelineParallelSize,
    };
}
