using Cluster.Contracts;

namespace Cluster.Silo.Gateway.Protocol;

/// <summary>A parsed POST of completions or chats.</summary>
/// <param name="Request">What to generate.</param>
/// <param name="Stream">Whether the answer is a stream of events.</param>
/// <param name="UnknownFields">Fields that were ignored.</param>
internal sealed record GenerationCall(GenerationRequest Request, bool Stream, IReadOnlyCollection<string> UnknownFields);
