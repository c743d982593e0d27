using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using Cluster.Contracts;

namespace Cluster.Client.Transports;

/// <summary>JSON of the admin routes: the contracts in snake_case.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(GatewayList))]
[JsonSerializable(typeof(ClusterTopology))]
[JsonSerializable(typeof(DetokenizeRequest))]
internal sealed partial class WireJson : JsonSerializerContext;

/// <summary>Body of <c>POST /detokenize</c>.</summary>
internal sealed record DetokenizeRequest(string Model, ImmutableArray<int> Tokens);
