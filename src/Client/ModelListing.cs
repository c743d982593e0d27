namespace Cluster.Client;

/// <summary>A model the cluster serves.</summary>
/// <param name="Name">Served name, as in <see cref="Contracts.GenerationRequest.Model"/>.</param>
/// <param name="MaxModelLength">Longest sequence in tokens; null if the server does not say.</param>
/// <param name="Created">When it was declared.</param>
public sealed record ModelListing(string Name, int? MaxModelLength, DateTimeOffset Created);
