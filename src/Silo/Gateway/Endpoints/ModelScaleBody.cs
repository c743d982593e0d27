using System.Text.Json;
using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Endpoints;

/// <summary>
/// Body of <c>PUT /admin/models/{name}</c>:
/// <c>{"replicas": 2, "tensor_parallel_size": 2, "pipeline_parallel_size": 1}</c>; replicas may be "auto"; what is absent stays.
/// </summary>
internal static class ModelScaleBody
{
    /// <summary>Reads a body.</summary>
    /// <exception cref="RequestRejectedException">Not JSON, an unknown field, or a value that is no number.</exception>
    public static ModelScale Read(ReadOnlySpan<byte> body)
    {
        var reader = new Utf8JsonReader(body);
        try
        {
            using JsonDocument document = JsonDocument.ParseValue(ref reader);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw Wrong(null, "The body must be a JSON object.");
            var scale = new ModelScale();
            foreach (JsonProperty field in document.RootElement.EnumerateObject())
                scale = Apply(scale, field);
            return scale;
        }
        catch (JsonException exception)
        {
            throw Wrong(null, $"The body is not valid JSON: {exception.Message}");
        }
    }

    private static ModelScale Apply(ModelScale scale, JsonProperty field) => field.Name switch
    {
        "replicas" when field.Value.ValueKind == JsonValueKind.String && field.Value.ValueEquals("auto"u8) => scale with { FillDevices = true },
        "replicas" => scale with { Replicas = Number(field, " or \"auto\"") },
        "tensor_parallel_size" => scale with { TensorParallelSize = Number(field) },
        "pipeline_parallel_size" => scale with { PipelineParallelSize = Number(field) },
        _ => throw Wrong(field.Name, $"Unknown field '{field.Name}'; known are replicas, tensor_parallel_size and pipeline_parallel_size."),
    };

    private static int Number(JsonProperty field, string alternative = "") =>
        field.Value.ValueKind == JsonValueKind.Number && field.Value.TryGetInt32(out int number)
            ? number
            : throw Wrong(field.Name, $"{field.Name}: must be a whole number{alternative}, got {field.Value.GetRawText()}.");

    private static RequestRejectedException Wrong(string? field, string message) => new(RejectionReason.InvalidRequest, message, field);
}
